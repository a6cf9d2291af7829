"""RDMs that are constant, zero or nearly so: refused or right by every way there is."""

import array_oracles as oracle
import numpy as np
import pytest
from array_calls import differs, flat
from array_cases import COMPARED

from orthotrace.analysis.rdm import compare, correlate, kernels, stacks
from orthotrace.analysis.rdm import stored as module_of_stored
from orthotrace.analysis.rdm.stored import StoredStack, stored
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
N = 7
M = N * (N - 1) // 2
SCORES = {name: oracle.each(score) for name, score in COMPARED.items()}
SCORES |= {"cosine_cov": oracle.whitened(False), "corr_cov": oracle.whitened(True)}
PLAIN = RNG.random((3, M)) + 0.5


def nearly(apart, value=0.24138114453820886):
    return value * (1 + apart * RNG.standard_normal(M))


def but_one(apart, value=0.1):
    found = np.full(M, value)
    found[3] *= 1 + apart
    return found


CONSTANT = {
    **{f"constant {value}": np.full(M, value) for value in (7.0, 0.24138114453820886, 0.1e200)},
    **{f"rounding {apart}": nearly(apart) for apart in (1e-13, 1e-15)},
    "but one, rounding": but_one(1e-13),
}
ZERO = {"zero": np.zeros(M)}
NEAR = {
    **{f"nearly constant {apart}": nearly(apart) for apart in (1e-5, 1e-10)},
    "large, nearly constant": nearly(1e-9, 0.3e180),
    **{f"but one {apart}": but_one(apart) for apart in (1e-3, 1e-10)},
    "nearly zero": np.where(np.arange(M) == 3, 5e-324, 0.0),
    "one entry": np.where(np.arange(M) == 3, 0.7, 0.0),
}
# Which of those are refused; ranks have what is constant to the last digit alone.
CENTRED = ("pearson", "squared_pearson", "corr_cov")
RANKED = ("spearman", "tau_a", "tau_b")


@pytest.fixture
def small_parts(monkeypatch):
    """Several blocks, and several reads."""
    for module in (correlate, kernels):
        monkeypatch.setattr(module, "WIDE", 4)
    monkeypatch.setattr(stacks.blocks, "__defaults__", (5,))
    monkeypatch.setattr(stacks, "READ", 30)
    monkeypatch.setattr(module_of_stored, "PART", 8)


def answer(name, *given):
    try:
        return compare.METHODS[name](*given)
    except UserError as error:
        return str(error)


def ways(one):
    """An RDM alone, among others, and in the second stack; and its number."""
    alone, among = one[None], np.stack([PLAIN[0], one, PLAIN[1]])
    return [((alone,), 0), ((among,), 1), ((PLAIN, among), 4)]


def refused(name, kind):
    if kind in ZERO:
        return name not in ("rho_a", "norm_difference")
    exact = kind.startswith("constant")
    return kind in CONSTANT and (name in CENTRED or (name in RANKED and exact))


@pytest.mark.parametrize("name", compare.METHODS)
@pytest.mark.parametrize("kind", [*CONSTANT, *ZERO, *NEAR])
@pytest.mark.usefixtures("small_parts")
def test_flawed_rdms_are_refused_or_compared_rightly_in_memory_and_in_files(name, kind):
    for given, place in ways({**CONSTANT, **ZERO, **NEAR}[kind]):
        found, files = (answer(name, *map(where, given)) for where in (np.asarray, stored))
        assert np.array_equal(found, files) if isinstance(files, np.ndarray) else found == files
        if refused(name, kind):
            assert f"RDM {place} is {'constant' if name in (*CENTRED, *RANKED) else 'zero'}" in str(found)
        elif kind not in CONSTANT or name not in RANKED:
            assert isinstance(found, np.ndarray), found
            right = flat(SCORES[name](given[0], given[-1]))
            beside = max(np.abs(one).max() for one in given) if name == "norm_difference" else 1.0
            assert not differs(flat(found), right, 1e-8, True, beside)


def test_a_constant_rdm_in_files_is_told_before_all_are_read(monkeypatch):
    files = stored(np.stack([PLAIN[0], np.full(M, 0.24138114453820886)]))
    monkeypatch.setattr(StoredStack, "__array__", lambda *_, **__: pytest.fail("read at once"))
    with pytest.raises(UserError, match="RDM 1 is constant"):
        compare.corr_cov(files)
    with pytest.raises(UserError, match="RDM 4 is constant"):
        compare.corr_cov(PLAIN, files)
