"""RDMs in files: every comparison gives what it gives of the same RDMs in memory, and reads no more than it must."""

import numpy as np
import pytest

from orthotrace.analysis.rdm import compare, correlate, kernels, memory, stacks
from orthotrace.analysis.rdm import stored as module_of_stored
from orthotrace.analysis.rdm.stored import StoredRdm, StoredStack, stacked, stored
from orthotrace.analysis.rdm.undefined import on_shared
from orthotrace.core.errors import UserError

rng = np.random.default_rng(0)
N = 12
M = N * (N - 1) // 2
PLAIN = rng.random((4, M)) + rng.random(M)
GIVEN = {
    "plain": PLAIN,
    "ties": np.round(3 * PLAIN),
    # In one pass their digits would be lost.
    "far from zero": 1e6 + PLAIN,
    "large": 1e200 * PLAIN,
}
OTHERS = rng.random((3, M)) + PLAIN[0]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Several blocks, and several reads."""
    for module in (correlate, kernels):
        monkeypatch.setattr(module, "WIDE", 16)
    monkeypatch.setattr(stacks.blocks, "__defaults__", (8,))
    monkeypatch.setattr(stacks, "READ", 64)
    monkeypatch.setattr(module_of_stored, "PART", 20)


def call(name, *given):
    try:
        return compare.METHODS[name](*given)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", compare.METHODS)
def test_comparisons_are_those_of_memory_to_the_bit(name, given):
    stack = GIVEN[given]
    files = stored(stack)
    for ours, theirs in (((files,), (stack,)), ((files, OTHERS), (stack, OTHERS)), ((OTHERS, files), (OTHERS, stack))):
        found, right = call(name, *ours), call(name, *theirs)
        assert np.array_equal(found, right) if isinstance(right, np.ndarray) else found == right


def test_pearson_and_spearman_beside_dense_ones():
    from scipy.stats import spearmanr

    files = stored(PLAIN)
    assert np.allclose(compare.pearson(files), np.corrcoef(PLAIN), atol=1e-12)
    assert np.allclose(compare.spearman(files), spearmanr(PLAIN, axis=1)[0], atol=1e-12)


HOLES = PLAIN.copy()
HOLES[1, [0, 5, 40]] = np.nan
HOLES[3, :11] = np.nan


@pytest.mark.parametrize("name", compare.METHODS)
def test_rdms_that_lack_entries_are_compared_two_at_a_time(name):
    for ours, theirs in (((stored(HOLES),), (HOLES,)), ((stored(HOLES), OTHERS), (HOLES, OTHERS))):
        found, right = call(name, *ours), call(name, *theirs)
        assert np.allclose(found, right, atol=1e-12) if isinstance(right, np.ndarray) else found == right
        if name != "bures":
            assert np.allclose(
                on_shared(compare.METHODS[name], *ours), on_shared(compare.METHODS[name], *theirs), atol=1e-12
            )


def test_the_one_that_nothing_is_left_of_is_named():
    flat = np.where(np.arange(4)[:, None] == 2, 1.0, PLAIN)
    with pytest.raises(UserError, match="RDM 2 is constant"):
        compare.pearson(stored(flat))
    flat[1, 0] = np.nan
    with pytest.raises(UserError, match="RDM 2, of the entries that it shares with others, is constant"):
        compare.pearson(stored(flat))
    with pytest.raises(UserError, match="RDM 2, of the entries that it shares with others, is constant"):
        compare.pearson(stored(flat), OTHERS)
    with pytest.raises(UserError, match="RDM 5, of the entries that it shares with others, is constant"):
        compare.pearson(stored(OTHERS), flat)
    assert np.isnan(on_shared(compare.pearson, stored(flat))[2]).all()
    apart = np.full((2, M), np.nan)
    apart[0, :5] = apart[1, 5:] = 1.5
    with pytest.raises(UserError, match="RDM 0 and RDM 1 share no entry"):
        compare.cosine(stored(apart))


def test_each_is_ranked_once(monkeypatch):
    ranked, before = [], compare.ranks

    def seen(stack):
        ranked.append(stack.shape)
        return before(stack)

    monkeypatch.setattr(compare, "ranks", seen)
    files = stored(PLAIN)
    compare.spearman(files)
    assert ranked == [(1, M)] * 4
    compare.spearman(files, stored(OTHERS))
    assert ranked == [(1, M)] * 11


def test_few_entries_are_read_at_a_time(monkeypatch):
    most, before = [], StoredRdm.read

    def seen(self, start=0, stop=None):
        found = before(self, start, stop)
        most.append(len(found))
        return found

    monkeypatch.setattr(StoredRdm, "read", seen)
    files = stored(PLAIN)
    compare.pearson(files)
    compare.cosine(files)
    assert max(most) == 16
    # Rows of the matrix that have 16 entries or more together.
    compare.corr_cov(files)
    assert max(most) < 30


def test_what_takes_more_than_there_is_is_refused_before_it_is_begun(monkeypatch):
    files = stored(PLAIN)
    monkeypatch.setattr(memory, "resident", lambda: 8 * 10**9 - 3000)
    needs = {
        "tau_a": "Kendall's tau of two RDMs of 66",
        "bures": "to make patterns of 4 RDMs",
        "spearman": "to rank an RDM",
    }
    with memory.within("8GB"):
        for name, line in needs.items():
            with pytest.raises(UserError, match=rf"^memory: {line}.* needs \d+ kB, but 3 kB of 8.00 GB are left"):
                compare.METHODS[name](files)
            with pytest.raises(UserError, match="^memory: "):
                on_shared(compare.METHODS[name], files)
            with pytest.raises(UserError, match="^memory: "):
                on_shared(compare.METHODS[name], stored(HOLES))
        with pytest.raises(UserError, match="a block of 16 entries of all RDMs needs"):
            monkeypatch.setattr(memory, "resident", lambda: 8 * 10**9 - 300)
            compare.pearson(files)


def test_parts_of_a_stack():
    files = stored(PLAIN)
    assert files.shape == PLAIN.shape and files.ndim == 2 and files.size == PLAIN.size and len(files) == 4
    assert np.array_equal(files, PLAIN) and np.array_equal(files[2], PLAIN[2])
    assert np.array_equal(files[[3, 0]], PLAIN[[3, 0]]) and np.array_equal(files[1:3], PLAIN[1:3])
    assert np.array_equal(files[:, 3:9], PLAIN[:, 3:9]) and np.array_equal(list(files), PLAIN)
    with pytest.raises(TypeError, match="some entries of all"):
        files[1:2, 3:4]
    both = stacked([files.rdms[1], files.rdms[3]])
    assert isinstance(both, StoredStack) and np.array_equal(both, PLAIN[[1, 3]])
    assert np.array_equal(stacked([files.rdms[1], PLAIN[0]]), PLAIN[[1, 0]])


def test_files_are_what_numpy_reads_and_stay_where_a_folder_is_given(tmp_path):
    stored((one for one in PLAIN.astype(np.float32)), tmp_path / "rdms")
    assert sorted(path.name for path in (tmp_path / "rdms").iterdir()) == [f"rdm{number}.npy" for number in range(4)]
    assert np.array_equal(np.load(tmp_path / "rdms" / "rdm2.npy"), PLAIN[2].astype(np.float32))
    files = stored(PLAIN)
    place = files.rdms[0].path.parent
    one = files.rdms[1]
    del files
    assert place.is_dir()
    del one
    assert not place.exists()


MISTAKES = {
    "none": (lambda: stored([]), "rdms: no RDMs are given"),
    "of several sizes": (lambda: stored([PLAIN[0], PLAIN[0][:3]]), r"rdms: RDMs of one size are needed, got \[3, 66\]"),
    "whole matrices": (lambda: stored([np.eye(3)]), r"rdms: an upper triangle \(m,\) is needed, got shape \(3, 3\)"),
    "text": (lambda: stored([["a"]]), "rdms: real numbers are needed"),
    "infinite": (lambda: compare.pearson(stored(np.where(PLAIN > 1.9, np.inf, PLAIN))), "entries that are not finite"),
    "another size": (lambda: compare.pearson(stored(PLAIN), PLAIN[:, :3]), "RDMs of one size are needed, got 66 and 3"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake):
    make, line = MISTAKES[mistake]
    with pytest.raises(UserError, match=line):
        make()


def test_a_file_that_was_cut_or_is_gone_is_told(tmp_path):
    files = stored(PLAIN, tmp_path)
    path = files.rdms[2].path
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"rdm2\.npy is shorter than it was"):
        compare.pearson(files)
    path.unlink()
    with pytest.raises(UserError, match=r"rdm2\.npy cannot be read"):
        compare.pearson(files)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file"):
        stored(PLAIN, tmp_path / "file")
