import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

from orthotrace.analysis import rdm
from orthotrace.analysis.networks.outside import read_outside
from orthotrace.analysis.networks.storage import write_rdms
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
N = 6
ACTIVE = RNG.standard_normal((N, 4, 3))
STACK = np.stack([rdm.correlation(RNG.standard_normal((N, 9))) for _ in range(3)])

# Name of the file -> what is in it, and what comes out.
FILES = {
    "triangle.npy": (STACK[0], STACK[:1]),
    "stack.npy": (STACK, STACK),
    "whole.npy": (square(STACK[1]), STACK[1:2]),
    "wholes.npy": (np.stack([square(one) for one in STACK]), STACK),
    "active.npy": (ACTIVE, rdm.correlation(ACTIVE)[None]),
    "whole.numbers.npy": (np.arange(N * 7).reshape(N, 7) ** 2 % 11, None),
}


@pytest.mark.parametrize("name", FILES)
def test_arrays_tell_by_their_shape_what_they_are(tmp_path, name):
    values, expected = FILES[name]
    np.save(tmp_path / name, values)
    found = read_outside(tmp_path / name, N).dissimilarities
    assert np.allclose(found, rdm.correlation(values)[None] if expected is None else expected, atol=1e-12)


def test_a_square_matrix_that_is_no_rdm_is_activations_only_if_that_is_said(tmp_path):
    values = RNG.standard_normal((N, N))
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(UserError, match="no RDM; of activations say so by kind"):
        read_outside(tmp_path / "x.npy", N)
    found = read_outside(tmp_path / "x.npy", N, "activations").dissimilarities
    assert np.allclose(found[0], rdm.correlation(values))


def test_rounding_on_the_diagonal_makes_no_activations(tmp_path):
    matrix = 1 - np.corrcoef(RNG.standard_normal((N, 50)))
    matrix[0, 0] = 2e-16
    np.save(tmp_path / "x.npy", np.stack([matrix] * N))
    found = read_outside(tmp_path / "x.npy", N).dissimilarities
    assert found.shape == (N, 15) and np.allclose(found[0], matrix[np.triu_indices(N, 1)])


def test_three_stimuli_may_be_either(tmp_path):
    values = RNG.random((3, 3))
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(UserError, match="it may be 3 RDMs or activations"):
        read_outside(tmp_path / "x.npy", 3)
    assert np.array_equal(read_outside(tmp_path / "x.npy", 3, "rdms").dissimilarities, values)


def test_by_another_measure(tmp_path):
    np.save(tmp_path / "x.npy", ACTIVE)
    found = read_outside(tmp_path / "x.npy", N, measure="euclidean")
    assert np.allclose(found.dissimilarities[0], rdm.euclidean(ACTIVE))


def test_every_array_of_a_file_is_one_or_more_rdms(tmp_path):
    save_file({"v1": ACTIVE, "subjects": STACK}, tmp_path / "x.safetensors")
    found = read_outside(tmp_path / "x.safetensors", N)
    assert found.rdm_descriptors["name"].tolist() == ["subjects[0]", "subjects[1]", "subjects[2]", "v1"]
    assert np.allclose(found.dissimilarities, [*STACK, rdm.correlation(ACTIVE)])


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
def test_what_we_wrote_keeps_its_descriptors(tmp_path, suffix):
    write_rdms(tmp_path / f"x{suffix}", RDMs(STACK, "cosine", {}, {"name": np.array(list("abc"))}, {"stimuli": "ab"}))
    found = read_outside(tmp_path / f"x{suffix}", N)
    assert found.measure == "cosine" and found.descriptors["stimuli"] == "ab"


def test_rsatoolboxs_data_set(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.data import Dataset

        Dataset(ACTIVE.reshape(N, -1)).save(str(tmp_path / "x.h5"), file_type="hdf5")
    assert np.allclose(read_outside(tmp_path / "x.h5", N).dissimilarities[0], rdm.correlation(ACTIVE))


def test_what_may_be_either_asks(tmp_path):
    m = N * (N - 1) // 2
    values = RNG.random((N, m))
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(UserError, match=r"x\.npy: of shape \(6, 15\), it may be 6 RDMs or activations"):
        read_outside(tmp_path / "x.npy", N)
    assert np.allclose(read_outside(tmp_path / "x.npy", N, "rdms").dissimilarities, values)
    assert np.allclose(read_outside(tmp_path / "x.npy", N, "activations").dissimilarities[0], rdm.correlation(values))


infinite, few = STACK.copy(), STACK.copy()
infinite[1, 2], few[1, 2:] = np.inf, np.nan
BAD = {
    "number": (RNG.random((5, 8)), None, r"of shape \(5, 8\), it is neither RDMs of 6 stimuli, \(15,\)"),
    "one axis": (RNG.random(6), None, r"of shape \(6,\), it is neither"),
    "not symmetric": (RNG.random((6, 6)), "rdms", "not symmetric with zeros on the diagonal"),
    "not symmetric stack": (RNG.random((3, 6, 6)), None, "not symmetric"),
    "infinite": (infinite, None, "infinite entries: NaN is for those that are missing"),
    "few": (few, None, "RDM 1 has fewer than three entries, the others are missing"),
    "constant": (np.ones((6, 9)), None, "the pattern of stimulus 0 is constant"),
    "NaN": (np.full((6, 9), np.nan), None, "the pattern of stimulus 0 is not finite"),
    "text": (np.array(list("abcdef")), None, "entries of type <U1, no numbers"),
    "asked": (STACK, "activations", r"activations \(6, ...\) are needed, got shape \(3, 15\)"),
    "kind": (STACK, "rdm", "rdms or activations"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(tmp_path, bad):
    values, kind, line = BAD[bad]
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(UserError, match=line):
        read_outside(tmp_path / "x.npy", N, kind)


def test_rdms_of_another_number_of_stimuli(tmp_path):
    write_rdms(tmp_path / "x.h5", RDMs(RNG.random(10)))
    with pytest.raises(UserError, match="has RDMs of 5 stimuli, not of 6"):
        read_outside(tmp_path / "x.h5", N)


def test_no_file(tmp_path):
    for name in ("x.npy", "x.safetensors", "x.h5"):
        with pytest.raises(UserError, match="there is no file"):
            read_outside(tmp_path / name, N)


@pytest.mark.parametrize("form", ["triangles", "matrices", "matrices without the diagonal", "file"])
def test_what_is_missing_of_a_silent_stimulus_stays_missing(tmp_path, form):
    whole = np.zeros((3, N, N))
    whole[:, *np.triu_indices(N, 1)] = STACK
    whole += whole.transpose(0, 2, 1)
    whole[1, 2], whole[1, :, 2] = np.nan, np.nan
    expected = whole[:, *np.triu_indices(N, 1)]
    assert np.isnan(expected).sum() == N - 1
    if not form.endswith("diagonal"):
        whole[1, 2, 2] = 0
    path = tmp_path / ("x.h5" if form == "file" else "x.npy")
    if form == "file":
        write_rdms(path, RDMs(expected))
    else:
        np.save(path, expected if form == "triangles" else whole)
    assert np.array_equal(read_outside(path, N).dissimilarities, expected, equal_nan=True)
