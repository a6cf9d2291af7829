"""A bound on memory: what it reads, what it refuses, and that no number depends on it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orthotrace.analysis import rdm
from orthotrace.analysis.rdm import compare, memory, pieces
from orthotrace.core.errors import UserError

GB = 10**9


@pytest.fixture
def left(monkeypatch):
    """So many bytes of 8 GB are left."""

    def leave(size):
        monkeypatch.setattr(memory, "resident", lambda: 8 * GB - size)

    return leave


SIZES = {"8GB": 8 * GB, "500 MB": 5 * 10**8, "2GiB": 2**31, "1.5kB": 1500, "7.5 GB": 75 * 10**8, "4000000000B": 4 * GB}


@pytest.mark.parametrize("text", SIZES)
def test_sizes_are_read(text):
    assert memory.size_of(text) == SIZES[text]


@pytest.mark.parametrize("text", ["8", 8, "GB", "8 gigabytes", "-1GB", "0GB", "1e3GB", "8G", "3iB", "", None])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserError, match="is no size: write one such as 8GB"):
        memory.size_of(text)


def test_less_than_is_taken_already_is_refused():
    with pytest.raises(UserError, match=r"memory: the process takes [\d.]+ [MG]B already: give more than 1MB"):
        memory.within("1MB").__enter__()
    assert not memory.bounded()


def test_a_bound_ends_with_its_block():
    with memory.within("900GB"), memory.within(None):
        assert not memory.bounded()
    with memory.within("900GB"):
        with pytest.raises(UserError, match="is no size"), memory.within("800GB"):
            memory.size_of("8")
        assert memory.bounded()
    assert not memory.bounded()


def test_what_does_not_fit_is_refused_with_what_it_needs(left):
    left(GB)
    with memory.within("8GB"):
        memory.need(GB, "it")
        line = r"^memory: it needs 3.00 GB, but 1.00 GB of 8.00 GB are left: give at least 10.00 GB, or go$"
        with pytest.raises(UserError, match=line):
            memory.need(3 * GB, "it", "go")
        assert memory.fits(GB) and not memory.fits(GB + 1)
    memory.need(3 * GB, "it")


def test_as_many_pieces_are_done_at_a_time_as_fit(left, monkeypatch):
    left(GB)
    monkeypatch.setattr(pieces, "threads", lambda: 16)
    with memory.within("8GB"):
        assert [memory.at_once(16, size, "a piece") for size in (0, GB // 100, GB // 5, GB // 2)] == [16, 16, 4, 1]
        with pytest.raises(UserError, match="a piece needs"):
            memory.at_once(16, GB // 2 + 1, "a piece")
        with pytest.raises(UserError, match="a piece needs"):
            list(pieces.ordered(lambda number: number, 3, GB, "a piece"))


PATTERNS = np.random.default_rng(0).standard_normal((300, 20))


@pytest.mark.parametrize("name", ["correlation", "squared_euclidean", "euclidean", "cosine", "norm_difference"])
def test_an_rdm_that_does_not_fit_is_refused(left, name):
    left(10**5)
    with memory.within("8GB"), pytest.raises(UserError, match="^memory: ") as line:
        rdm.MEASURES[name](PATTERNS)
    assert "300" in str(line.value) and "give at least" in str(line.value)


def test_no_number_depends_on_the_bound(left, monkeypatch):
    monkeypatch.setattr(pieces, "threads", lambda: 4)
    plain = [measure(PATTERNS) for measure in rdm.MEASURES.values()]
    stack = np.stack(plain)
    scores = [compare.METHODS[name](stack) for name in ("pearson", "spearman", "rho_a", "corr_cov")]
    # Just what the smallest tile takes.
    left(6 * 10**6)
    with memory.within("8GB"):
        assert all(
            np.array_equal(measure(PATTERNS), one) for measure, one in zip(rdm.MEASURES.values(), plain, strict=True)
        )
        # Ranks do not fit: they lie in a file.
        in_files, before = [], compare.stored
        monkeypatch.setattr(compare, "stored", lambda rdms: in_files.append(before(rdms)) or in_files[-1])
        again = [compare.METHODS[name](stack) for name in ("pearson", "spearman", "rho_a", "corr_cov")]
    assert len(in_files) == 2
    assert all(np.array_equal(one, other) for one, other in zip(scores, again, strict=True))


def test_a_folder_for_files_goes_with_what_holds_it_and_with_the_process(tmp_path):
    with memory.within(None, tmp_path):
        held = memory.Scratch()
    (held.path / "file").write_text("x")
    assert held.path.parent == tmp_path
    del held
    assert not list(tmp_path.iterdir())
    code = "from pathlib import Path; from orthotrace.analysis.rdm import memory; import sys; sys.stdout.flush()\n"
    code += f"with memory.within(None, Path({str(tmp_path)!r})): kept = memory.Scratch(); print(kept.path.is_dir())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n" and not list(tmp_path.iterdir())


def test_what_the_process_takes_is_told(monkeypatch):
    before = memory.resident()
    held = np.ones(10**7)
    assert memory.resident() > before + 0.9 * held.nbytes
    # Where the system does not say it, the most it took.
    monkeypatch.setattr(memory, "Path", lambda _: Path("/nowhere/at/all"))
    assert memory.resident() >= before
