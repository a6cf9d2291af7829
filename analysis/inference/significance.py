"""Whether one model is better than another, better than chance, or as good as the noise allows."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.inference.permuted import all_orders, permuted_scores
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.arguments import generator, level_of, whole
from orthotrace.analysis.rdm.arrays import numbers
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stacks import check_together, of_shared_stimuli
from orthotrace.analysis.rdm.triangles import ranks
from orthotrace.core.errors import UserError, nearest, refuse_unknown

Matrix = NDArray[np.float64]
# Differences of scores that rounding makes.
ROUNDING = 1e-12
# Subjects or stimuli below which percentiles are too narrow.
FEW = 10
Test = Literal["t", "bootstrap", "signed_rank"]


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """P-values of the comparisons of some models.

    Attributes:
        test: by which.
        pairs: two-sided, (models, models), that two models score alike; 1 on the diagonal.
        zero: one-sided, (models,), that a model scores no better than 0, which is not chance for every method: see
            ceilings.above_chance.
        ceiling: one-sided, (models,), that a model scores no worse than the lower bound of the noise ceiling; None
            without one, and by signed ranks.
        adjusted: of all pairs, for false discoveries (Benjamini & Hochberg), as pairs.
    """

    test: Test
    pairs: Matrix
    zero: Matrix
    ceiling: Matrix | None
    adjusted: Matrix


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of models, and what they would be in resamples.

    Attributes:
        models: names.
        method: of comparison.
        scores: (models, subjects).
        ceiling: of noise; None with one subject.
        draws: "both", "rdms", "stimuli" -> (resamples, models + 2), the mean scores and the two bounds of the ceiling;
            without resampling none.
        stimuli: how many were resampled.
    """

    models: tuple[str, ...]
    method: str
    scores: Matrix
    ceiling: Ceiling | None
    draws: Mapping[str, Matrix] = field(default_factory=dict)
    stimuli: int | None = None

    @property
    def means(self) -> Matrix:
        """Mean score of each model over subjects, (models,)."""
        return self.scores.mean(axis=1)

    @property
    def errors(self) -> Matrix:
        """Standard error of each mean, (models,)."""
        return np.sqrt([self._variance(self._contrast(number)) for number in range(len(self.models))])

    def intervals(self, level: float = 0.95) -> Matrix:
        """Interval of each mean by its standard error and Student's t, (models, 2).

        Args:
            level: in (0, 1).

        Raises:
            UserError: a level out of its range, or one subject and no resampled stimuli: the error is unknown.
        """
        from scipy.stats import t as student

        level_of(level)
        half = student.ppf((1 + level) / 2, self.degrees) * self.errors
        return np.stack([self.means - half, self.means + half], axis=1)

    @property
    def degrees(self) -> int:
        """Degrees of freedom: subjects, stimuli, or the fewer of both, less one."""
        if "both" in self.draws:
            return min(self.scores.shape[1], self.stimuli or 0) - 1
        return (self.stimuli or 0) - 1 if "stimuli" in self.draws else self.scores.shape[1] - 1

    def compare(self, test: Test = "t") -> ModelComparison:
        """Every model against every other, against 0 and against the noise ceiling.

        t: differences of means over their standard errors, from the draws where there are some, else over subjects.
        bootstrap: how often the sign of the difference turns in the draws, spread as far as the variance says and about
        the difference: 2 (1 + fewer)/(1 + resamples) two-sided. With few subjects or stimuli it finds too much (without
        any difference 16 % of the time at a level of 5 % with 5 subjects, 8 % with 9): below ten it warns. signed_rank:
        Wilcoxon's, over subjects. Without draws the bound of the noise ceiling counts as known.

        Args:
            test: of the three.

        Raises:
            UserError: an unknown test, no draws for a bootstrap, or fewer than two subjects for the others.

        Example:
            >>> scores = np.array([[0.5, 0.6, 0.55, 0.52, 0.6], [0.1, 0.3, 0.2, 0.1, 0.2]])
            >>> found = Evaluation(("good", "bad"), "pearson", scores, None).compare("t")
            >>> float(found.pairs[0, 1].round(6)), float(found.adjusted[0, 1].round(6))
            (6.8e-05, 6.8e-05)
        """
        from scipy.stats import false_discovery_control

        if test == "bootstrap" and self.draws and self.degrees + 1 < FEW:
            warnings.warn(
                f"a bootstrap test over {self.degrees + 1} subjects or stimuli finds too much: compare('t') is right",
                stacklevel=2,
            )
        tests = {"t": self._t, "bootstrap": self._bootstrap, "signed_rank": self._signed_rank}
        refuse_unknown([test], list(tests), "there is no test", "test")
        one = tests[test]
        number = len(self.models)
        pairs = np.ones((number, number))
        rows, columns = np.triu_indices(number, 1)
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            pairs[i, j] = pairs[j, i] = one(self._contrast(i, j), sides=2)
        adjusted = np.ones((number, number))
        if len(rows):
            adjusted[rows, columns] = adjusted[columns, rows] = false_discovery_control(pairs[rows, columns])
        zero = np.array([one(self._contrast(i), sides=1) for i in range(number)])
        limits = None
        # The lower bound is a mean over subjects, without a score of each.
        if self.ceiling is not None and (test != "signed_rank"):
            # How far the bound is above the model.
            limits = np.array([one(-self._contrast(i, number), sides=1) for i in range(number)])
        return ModelComparison(test, pairs, zero, limits, adjusted)

    def _contrast(self, plus: int, minus: int | None = None) -> Matrix:
        """Which means are added and which are taken off: models, then the two bounds."""
        contrast = np.zeros(len(self.models) + 2)
        contrast[plus] = 1
        if minus is not None:
            contrast[minus] -= 1
        return contrast

    def _point(self, contrast: Matrix) -> float:
        limits = [self.ceiling.lower, self.ceiling.upper] if self.ceiling else [0.0, 0.0]
        return float(contrast @ np.append(self.means, limits))

    def _variance(self, contrast: Matrix) -> float:
        """Variance of a contrast of means.

        Resamples of n things have (n - 1)/n of the variance. Over both, with V_b, V_r, V_s of both, subjects and
        stimuli,

            r V_r + s V_s - r s (V_b - V_r - V_s),  r = k/(k - 1), s = n/(n - 1),

        at least what either factor alone gives and at most V_b.
        """
        subjects = self.scores.shape[1]
        limited = bool(contrast[-2:].any())
        if not self.draws:
            if subjects < 2:
                raise UserError("the error of one subject is unknown: bootstrap over stimuli, or give several RDMs")
            # The bounds are taken as they are.
            return float((contrast[:-2] @ self.scores).var(ddof=1) / subjects)
        found = {}
        for kind, values in self.draws.items():
            used = values if limited else values[:, :-2]
            found[kind] = float((used @ (contrast if limited else contrast[:-2])).var(ddof=1))
        r, s = subjects / max(subjects - 1, 1), (self.stimuli or 2) / ((self.stimuli or 2) - 1)
        if "both" not in found:
            return r * found["rdms"] if "rdms" in found else s * found["stimuli"]
        both, rdms, stimuli = found["both"], r * found["rdms"], s * found["stimuli"]
        corrected = rdms + stimuli - r * s * (both - found["rdms"] - found["stimuli"])
        return min(max(corrected, rdms, stimuli), both)

    def _t(self, contrast: Matrix, sides: int) -> float:
        from scipy.stats import t as student

        point, error = self._point(contrast), float(np.sqrt(self._variance(contrast)))
        if error <= ROUNDING:
            return 1.0 if point <= ROUNDING and (sides == 1 or point >= -ROUNDING) else 0.0
        value = point / error
        return float(student.sf(abs(value), self.degrees) * 2 if sides == 2 else student.sf(value, self.degrees))

    def _bootstrap(self, contrast: Matrix, sides: int) -> float:
        if not self.draws:
            raise UserError("there are no draws: evaluate by inference.bootstrap")
        values = self.draws["both" if "both" in self.draws else next(iter(self.draws))]
        limited = bool(contrast[-2:].any())
        differences = values @ contrast if limited else values[:, :-2] @ contrast[:-2]
        spread = float(differences.std(ddof=1))
        # About the point: a bound of resamples, in which subjects come twice, is lower than that of the data.
        wider = np.sqrt(self._variance(contrast)) / spread if spread > ROUNDING else 0.0
        differences = self._point(contrast) + wider * (differences - differences.mean())
        below, above = int((differences <= ROUNDING).sum()), int((differences >= -ROUNDING).sum())
        fewer = min(below, above) if sides == 2 else below
        return min(1.0, sides * (1 + fewer) / (1 + len(differences)))

    def _signed_rank(self, contrast: Matrix, sides: int) -> float:
        from scipy.stats import wilcoxon

        if self.scores.shape[1] < 2:
            raise UserError("a signed-rank test needs two subjects or more (got 1)")
        differences = contrast[:-2] @ self.scores
        differences = np.where(np.abs(differences) <= ROUNDING, 0, differences)
        if not differences.any():
            return 1.0
        # Scipy's stubs give its result no fields.
        return float(wilcoxon(differences, alternative="two-sided" if sides == 2 else "greater")[1])  # type: ignore[arg-type]


def permutation_test(
    first: ArrayLike, second: ArrayLike, method: str = "pearson", permutations: int | None = 1000, seed: int = 0
) -> tuple[float, float]:
    """Whether two RDMs are related: the stimuli of one are permuted.

        p = (1 + permutations that score at least as high)/(1 + permutations)

    Of all permutations, n! with that which changes nothing, p is their share that scores at least as high, exactly.
    Pearson's, Spearman's, the cosine and rho-a take 20 to 30 ms a permutation of 3,000 stimuli; Kendall's some seconds.
    Stimuli without an entry that both RDMs have are left out. Where single entries are missing (NaN), every permutation
    is scored by those that both then have; one that leaves nothing to compare counts as scoring at least as high.

    Args:
        first: upper triangle of an RDM, (m,) or (1, m).
        second: likewise, of the same stimuli in the same order.
        method: a name of compare.METHODS in which more is more alike.
        permutations: drawn at random, at least 1; None for all, of at most 9 stimuli.
        seed: of the draws.

    Returns:
        The score, and p, one-sided.

    Raises:
        UserError: an unknown method, all permutations of too many stimuli, or what the comparison refuses, such as RDMs
            of other stimuli or in another order.

    Source: Mantel, Cancer Research 27 (1967) 209.

    Example:
        >>> from orthotrace.analysis.rdm.dissimilarity import euclidean
        >>> rng = np.random.default_rng(0)
        >>> a = rng.standard_normal((12, 5))
        >>> score, p = permutation_test(euclidean(a), euclidean(a + 0.1 * rng.standard_normal((12, 5))))
        >>> bool(score > 0.9), p < 0.002
        (True, True)
    """
    if method not in compare.SIMILARITIES:
        known = nearest(str(method), compare.SIMILARITIES)
        raise UserError(f"there is no comparison '{method}' to permute; {known}", "method")
    if permutations is not None:
        whole(permutations, "permutations", 1, "at least one permutation is needed")
    check_together(first, second)
    a, b = compare.stacks(*(_one_rdm(one, name) for name, one in (("first", first), ("second", second))))
    if len(a) != 1 or len(b) != 1:
        raise UserError(f"one RDM against one other are needed (got {len(a)} and {len(b)})")
    both, n = of_shared_stimuli(np.concatenate([a, b]))
    a, b = both[:1], both[1:]
    gaps = bool(np.isnan(a).any() or np.isnan(b).any())
    # A permutation of the stimuli permutes the ranks.
    by_ranks = method == "spearman" and not gaps
    score = compare.pearson if by_ranks else compare.METHODS[method]
    value = float(score(*((ranks(a), ranks(b)) if by_ranks else (a, b)))[0, 0])
    rng = generator(seed)
    orders = all_orders(n) if permutations is None else (rng.permutation(n) for _ in range(permutations))
    # Equal values differ by their rounding.
    higher = [one >= value - ROUNDING for one in permuted_scores(a[0], b[0], method, orders)]
    # Those drawn count beside the one that was found; all have it among them.
    found = int(permutations is not None)
    return value, (found + sum(higher)) / (found + len(higher))


def _one_rdm(rdm: ArrayLike, name: str) -> ArrayLike:
    """An RDM as a stack of one; RDMs keep what describes them."""
    return rdm if isinstance(rdm, RDMs) else np.atleast_2d(numbers(rdm, name, missing=True))
