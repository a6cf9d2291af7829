import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.stats import pearsonr

from orthotrace.analysis import rdm, similarity
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.compare import METHODS, pearson, squared_pearson
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError

RDMS = np.random.default_rng(0).uniform(size=(5, 45))


def test_against_scipy():
    for i in range(5):
        for j in range(5):
            expected = pearsonr(RDMS[i], RDMS[j]).statistic
            assert pearson(RDMS)[i, j] == pytest.approx(expected, abs=1e-12)
            assert squared_pearson(RDMS)[i, j] == pytest.approx(expected**2, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale_changes_nothing(scale):
    assert np.allclose(pearson(scale * RDMS), pearson(RDMS), atol=1e-12)


def test_published_value():
    """The generator and the value of the RSA reference: correlation RDMs, Pearson 0.663444304018."""
    from orthotrace.analysis.rdm.dissimilarity import correlation

    rng = np.random.default_rng(42)
    z = rng.standard_normal((60, 12))
    x = z @ rng.standard_normal((12, 30)) + 0.5 * rng.standard_normal((60, 30)) + 1
    y = z @ rng.standard_normal((12, 30)) + rng.standard_normal((60, 30)) - 0.7
    assert pearson([correlation(x), correlation(y)])[0, 1] == pytest.approx(0.663444304018, abs=1e-9)


@pytest.mark.parametrize(
    ("rdms", "line"),
    [
        (RDMS[0], "a stack"),
        (np.vstack([RDMS, np.ones((1, 45))]), "RDM 5 is constant"),
        (np.vstack([RDMS, np.full((1, 45), np.inf)]), "RDM 5 has entries"),
        (np.vstack([RDMS, np.full((1, 45), np.nan)]), "RDM 5 has no entries: all are missing"),
    ],
)
def test_rdms_without_a_correlation_are_named(rdms, line):
    with pytest.raises(UserError, match=line):
        pearson(rdms)


X = np.random.default_rng(1).standard_normal((4, 12, 9))
EUCLIDEAN = np.stack([rdm.squared_euclidean(one) for one in X])
TIED = np.round(3 * RDMS)


def slow_ranks(x):
    return np.array([(x < one).sum() + ((x == one).sum() + 1) / 2 for one in x])


def pairs(a, b):
    return [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(len(a)) for j in range(i)]


def naive_tau_b(a, b):
    signs = np.array(pairs(a, b))
    return signs.prod(1).sum() / np.sqrt((signs[:, 0] ** 2).sum() * (signs[:, 1] ** 2).sum())


def dense_cosine(a, b, noise=None, there=None):
    """By the whole covariance V of the entries, or of those that are there."""
    there = np.ones(len(a), dtype=bool) if there is None else there
    n = round((1 + np.sqrt(1 + 8 * len(there))) / 2)
    c = np.zeros((len(there), n))
    for row, (i, j) in zip(c, zip(*np.triu_indices(n, 1), strict=True), strict=True):
        row[i], row[j] = 1, -1
    v = ((c @ (np.eye(n) if noise is None else noise) @ c.T) ** 2)[np.ix_(there, there)]
    x, y = np.linalg.solve(v, a), np.linalg.solve(v, b)
    return a @ y / np.sqrt((a @ x) * (b @ y))


def dense_bures(a, b):
    kernels = []
    for one in (a, b):
        d = square(one)
        h = np.eye(len(d)) - 1 / len(d)
        kernels.append(-0.5 * h @ d @ h)
    kernels = [scipy.linalg.polar(one)[1] / 2 + one / 2 for one in kernels]
    values, vectors = np.linalg.eigh(kernels[0])
    root = vectors @ np.diag(np.sqrt(np.clip(values, 0, None))) @ vectors.T
    inner = np.sqrt(np.clip(np.linalg.eigvalsh(root @ kernels[1] @ root), 0, None)).sum()
    return inner / np.sqrt(np.trace(kernels[0]) * np.trace(kernels[1]))


NAIVE = {
    "pearson": lambda a, b: np.corrcoef(a, b)[0, 1],
    "squared_pearson": lambda a, b: np.corrcoef(a, b)[0, 1] ** 2,
    "cosine": lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    "spearman": lambda a, b: np.corrcoef(slow_ranks(a), slow_ranks(b))[0, 1],
    "rho_a": lambda a, b: 12 * np.sum((slow_ranks(a) - (len(a) + 1) / 2) * (slow_ranks(b) - (len(a) + 1) / 2))
    / (len(a) ** 3 - len(a)),
    "tau_b": naive_tau_b,
    "tau_a": lambda a, b: np.mean([p * q for p, q in pairs(a, b)]),
    "cosine_cov": dense_cosine,
    "corr_cov": lambda a, b: dense_cosine(a - a.mean(), b - b.mean()),
    "bures": dense_bures,
    "norm_difference": lambda a, b: np.sqrt(np.sum((a - b) ** 2)),
}  # fmt: skip


@pytest.mark.parametrize("stack", [EUCLIDEAN, TIED, 1000 + EUCLIDEAN], ids=["distances", "tied", "shifted"])
@pytest.mark.parametrize("name", METHODS)
def test_against_a_naive_loop_all_pairs_of_one_stack_and_of_two(name, stack):
    bound = 2e-7 if name == "bures" else 1e-10
    for first, second in ((stack, None), (stack[:2], stack[1:])):
        found = METHODS[name](first, second)
        expected = [[NAIVE[name](a, b) for b in (first if second is None else second)] for a in first]
        assert np.allclose(found, expected, rtol=1e-9, atol=bound)


def test_published_values():
    """reference/rsa.md, section 2."""
    rng = np.random.default_rng(42)
    z = rng.standard_normal((60, 12))
    x = z @ rng.standard_normal((12, 30)) + 0.5 * rng.standard_normal((60, 30)) + 1
    y = z @ rng.standard_normal((12, 30)) + rng.standard_normal((60, 30)) - 0.7
    by = {measure: [measure(x), measure(y)] for measure in (rdm.correlation, rdm.euclidean, rdm.squared_euclidean)}
    for method, measure, value in (
        (compare.pearson, rdm.correlation, 0.663444304018),
        (compare.spearman, rdm.correlation, 0.638013479918),
        (compare.tau_b, rdm.correlation, 0.455340404263),
        (compare.spearman, rdm.euclidean, 0.717481273004),
        (compare.cosine, rdm.squared_euclidean, 0.950694889813),
        (compare.norm_difference, rdm.euclidean, 187.128637322),
    ):
        assert method(by[measure])[0, 1] == pytest.approx(value, abs=1e-9)


def test_of_squared_euclidean_rdms_cosine_cov_is_linear_cka():
    found = compare.cosine_cov(EUCLIDEAN)
    assert found[0, 1] == pytest.approx(similarity.linear_cka(X[0], X[1]), abs=1e-12)


def test_a_given_covariance_of_the_noise():
    a = np.random.default_rng(2).standard_normal((12, 30))
    noise = a @ a.T / 30 + 0.1 * np.eye(12)
    found = compare.cosine_cov(EUCLIDEAN, noise=noise)
    expected = [[dense_cosine(one, other, noise) for other in EUCLIDEAN] for one in EUCLIDEAN]
    assert np.allclose(found, expected, atol=1e-10)
    centred = EUCLIDEAN - EUCLIDEAN.mean(1, keepdims=True)
    expected = [[dense_cosine(one, other, noise) for other in centred] for one in centred]
    assert np.allclose(compare.corr_cov(EUCLIDEAN, noise=noise), expected, atol=1e-10)
    # Without single pairs of stimuli.
    there = np.arange(EUCLIDEAN.shape[1]) % 7 > 0
    found = compare.cosine_cov(np.where(there, EUCLIDEAN, np.nan), noise=noise)
    kept = EUCLIDEAN[:, there]
    expected = [[dense_cosine(one, other, noise, there) for other in kept] for one in kept]
    assert np.allclose(found, expected, atol=1e-10)
    for wrong in (np.eye(11), np.triu(np.ones((12, 12)))):
        with pytest.raises(UserError, match="symmetric covariance of 12 x 12"):
            compare.cosine_cov(EUCLIDEAN, noise=wrong)
    with pytest.raises(UserError, match="not positive definite"):
        compare.cosine_cov(EUCLIDEAN, noise=np.ones((12, 12)))


WHOLE = ("cosine_cov", "corr_cov", "bures")


@pytest.mark.parametrize("name", METHODS)
def test_what_is_missing_in_all_is_left_out_or_refused(name):
    holes = EUCLIDEAN.copy()
    holes[:, [3, 40]] = np.nan
    kept = np.delete(EUCLIDEAN, [3, 40], axis=1)
    if name == "bures":
        with pytest.raises(UserError, match="without single pairs of stimuli"):
            METHODS[name](holes)
    elif name in WHOLE:
        with pytest.raises(UserError, match="64 entries are no upper triangle"):
            METHODS[name](kept)
        centre = (lambda one: one - one.mean()) if name == "corr_cov" else (lambda one: one)
        right = [[dense_cosine(centre(a), centre(b), there=~np.isnan(holes[0])) for b in kept] for a in kept]
        assert np.allclose(METHODS[name](holes), right, atol=1e-10)
    else:
        assert np.allclose(METHODS[name](holes), METHODS[name](kept), atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_rdms_of_other_sizes_and_constant_ones(name):
    with pytest.raises(UserError, match="RDMs of one size are needed, got 66 and 65 entries"):
        METHODS[name](EUCLIDEAN, EUCLIDEAN[:, :-1])
    with pytest.raises(UserError, match="a stack"):
        METHODS[name](np.zeros((0, 66)))
    constant = EUCLIDEAN.copy()
    constant[1] = 0.0
    if name in ("rho_a", "norm_difference"):
        assert np.isfinite(METHODS[name](constant)).all()
        return
    with pytest.raises(UserError, match=r"RDM 1 is (constant|zero)"):
        METHODS[name](constant)
    with pytest.raises(UserError, match=r"RDM 5 is (constant|zero)"):
        METHODS[name](EUCLIDEAN, constant)


def test_the_number_of_threads_changes_rounding_alone():
    stack = np.random.default_rng(0).random((16, 19_900))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append((pearson(stack), pearson(stack, stack[:5].copy())))
    finally:
        torch.set_num_threads(before)
    # A sum of 19,900 products in float64; whether threads divide it among them is for the BLAS to choose.
    for one in found:
        assert np.allclose(one[0], found[0][0], rtol=0, atol=1e-13)
        assert np.allclose(one[1], found[0][1], rtol=0, atol=1e-13)


def test_a_stack_that_may_not_be_written_is_read():
    stack = np.random.default_rng(0).random((3, 40_000))
    expected = np.corrcoef(stack)
    stack.flags.writeable = False
    assert np.allclose(pearson(stack), expected, atol=1e-13)


Q = 1 + 1e-3 * np.random.default_rng(0).random((2, 45))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e-10, 1.0, 1e200])
def test_what_counts_is_the_size_of_an_rdm_itself(scale):
    assert np.allclose(pearson(Q * scale), np.corrcoef(Q), atol=1e-9)
    stack = np.random.default_rng(0).random((2, 45))
    for method in ("corr_cov", "cosine_cov", "bures"):
        assert np.allclose(METHODS[method](stack * scale), METHODS[method](stack), atol=1e-9)
    if scale < 1e200:
        assert np.allclose(METHODS["norm_difference"](stack * scale) / scale, METHODS["norm_difference"](stack))


def test_a_constant_of_any_size_is_refused():
    for value in (123456.7, 0.1, 1e-30):
        with pytest.raises(UserError, match="RDM 0 is constant"):
            pearson(np.vstack([np.full(45, value), Q[0]]))


LEGAL = {
    "turned": lambda stack: np.ascontiguousarray(stack[::-1])[::-1],
    "turned entries": lambda stack: np.ascontiguousarray(stack[:, ::-1])[:, ::-1],
    "big-endian": lambda stack: stack.astype(">f8"),
    "long": lambda stack: stack.astype(np.longdouble),
    "list": lambda stack: stack.tolist(),
    "with a gradient": lambda stack: torch.from_numpy(stack).requires_grad_(),
}


@pytest.mark.parametrize("entries", [45, 60_000])
@pytest.mark.parametrize("kind", LEGAL)
def test_arrays_of_all_kinds(kind, entries):
    stack = np.random.default_rng(0).random((2, entries))
    assert np.allclose(pearson(LEGAL[kind](stack)), np.corrcoef(stack), atol=1e-12)


@pytest.mark.parametrize("stack", [np.array([["a", "b"]]), np.ones((2, 3), dtype=complex), np.array([[None, 1.0]])])
def test_what_is_no_number_is_refused(stack):
    with pytest.raises(UserError, match="real numbers are needed"):
        pearson(stack)


def test_one_entry_has_no_rank():
    with pytest.raises(UserError, match="RDMs of one entry"):
        METHODS["rho_a"]([[1.0]])
