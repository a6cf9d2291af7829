"""Cases of the statistics of models and factors, of neighbours, weights and outputs: see array_cases."""

from __future__ import annotations

import itertools
from typing import Any

import array_oracles as oracle
import numpy as np
from array_draws import Case, Draw

from orthotrace.analysis import inference, similarity

LEVELS = np.array([0, 0, 1, 1, 2, 2])
AFTER = np.array([[1.0, -2.0, 0.5, 3.0], [2.0, 1.0, -1.0, 0.25]])


def centred(one: Any) -> Any:
    return oracle.direction(oracle.wide(one) - oracle.wide(one).mean())


def explained(y: Any, models: list[Any]) -> Any:
    """R^2 by Gram-Schmidt."""
    left, total = centred(y), 0
    for one in orthogonal(models):
        total += (left @ one) ** 2
    return total


def orthogonal(models: list[Any]) -> list[Any]:
    found: list[Any] = []
    for one in models:
        rest = centred(one)
        for _ in range(2):
            for other in found:
                rest = rest - (rest @ other) * other
        found.append(oracle.direction(rest))
    return found


def beside(y: Any, models: list[Any]) -> Any:
    """What is left of one beside others."""
    rest = centred(y)
    for _ in range(2):
        for one in orthogonal(models):
            rest = rest - (rest @ one) * one
    return rest


def partial(rdms: Any, model_rdms: Any, of_both: bool = True) -> Any:
    found = []
    for y in rdms:
        for place, one in enumerate(model_rdms):
            others = [other for at, other in enumerate(model_rdms) if at != place]
            part = oracle.direction(beside(one, others))
            found.append(oracle.direction(beside(y, others) if of_both else centred(y)) @ part)
    return found


def partition(rdms: Any, model_rdms: Any) -> Any:
    a, b = model_rdms
    both, one, other = (np.array([explained(y, list(m)) for y in rdms]) for m in ((a, b), (a,), (b,)))
    return np.concatenate([both - other, both - one, one + other - both, both])


def balanced(values: Any) -> Any:
    """The analysis of variance of three levels of two observations, with the maximum where it would be below 0."""
    y = oracle.wide(values)
    groups = y.reshape(3, 2)
    between = 2 * ((groups.mean(1) - y.mean()) ** 2).sum() / 2
    within = ((groups - groups.mean(1)[:, None]) ** 2).sum() / 3
    found = [(between - within) / 2, within] if between > within else [0, ((y - y.mean()) ** 2).sum() / 5]
    return found


def neighbours(x: Any, k: int) -> Any:
    """Cosines, and the nearest of each; None where rounding would decide."""
    u = np.array([oracle.direction(one) for one in oracle.wide(x).reshape(len(x), -1)])
    apart = np.array([[((a - b) ** 2).sum() / 2 for b in u] for a in u])
    near = []
    for i, row in enumerate(apart):
        order = sorted((j for j in range(len(row)) if j != i), key=lambda j, row=row: row[j])
        if row[order[k]] - row[order[k - 1]] < 1e-9 * row[order[k]]:
            return None
        near.append(set(order[:k]))
    return 1 - apart, near


def mutual_knn(x: Any, y: Any, k: int = 1) -> Any:
    found = [neighbours(one, k) for one in (x, y)]
    if None in found:
        return None
    return np.mean([len(a & b) / k for a, b in zip(found[0][1], found[1][1], strict=True)])


def cknna(x: Any, y: Any, k: int = 1) -> Any:
    found = [neighbours(one, k) for one in (x, y)]
    if None in found:
        return None

    def align(first: Any, second: Any) -> Any:
        (one, near), (other, also) = first, second
        return sum(
            (one[i, j] - one[i].mean()) * (other[i, j] - other[i].mean())
            for i in range(len(one)) for j in near[i] & also[i]
        )  # fmt: skip

    return oracle.ratio(align(*found), np.sqrt(align(found[0], found[0]) * align(found[1], found[1])))


def weights(first: Any, second: Any) -> Any:
    a, b = oracle.wide(first), oracle.wide(second)
    c, d = oracle.wide(AFTER), oracle.wide(AFTER[:, ::-1])
    size = (a * a).sum() + (b * b).sum() + (c * c).sum() + (d * d).sum()
    return min(
        np.sqrt((((a - b[list(p)]) ** 2).sum() + ((c - d[:, list(p)]) ** 2).sum()) / size)
        for p in itertools.permutations(range(4))
    )


def matched(first: Any, second: Any) -> Any:
    return similarity.weight_distance([first, AFTER], [second, AFTER[:, ::-1]]).aligned


def models(d: Draw) -> Any:
    return {"rdms": d.stack(2, 5), "model_rdms": d.stack(2, 5)}


def pair(d: Draw) -> Any:
    return {"x": d.array(d.n, d.p), "y": d.array(d.n, d.q)}


def reached(x: Any) -> Any:
    """The exponential of the entropy of the singular values."""
    wide = oracle.wide(x)
    sizes = np.linalg.svd((wide / (np.abs(wide).max() or 1)).astype(float), compute_uv=False)
    shares = [one / sum(sizes) for one in sizes.tolist() if one > 1e-13 * max(sizes)]
    return np.prod([share**-share for share in shares]) if shares else 0.0


def overlapping(weights: Any) -> Any:
    rows = [oracle.direction(one) for one in oracle.wide(weights) if np.abs(one).max() > 0]
    cosines = [min(1, abs(a @ b)) for a, b in itertools.combinations(rows, 2)]
    return sum(cosines) / len(cosines) if cosines else 0.0


STATISTICS: dict[str, Case] = {
    "inference.partial.partial": Case(models, inference.partial, partial, missing=True),
    "inference.partial.semi_partial": Case(
        models, inference.semi_partial, lambda rdms, model_rdms: partial(rdms, model_rdms, False), missing=True
    ),
    "inference.partition.variance_partition": Case(
        models, inference.variance_partition, partition, missing=True,
        of=lambda found: [*found.shares.values(), found.total],
    ),
    "inference.variance.variance_components": Case(
        lambda d: {"values": d.array(6, 1)[:, 0]},
        lambda values: inference.variance_components(values, {"level": LEVELS}), balanced,
        of=lambda found: list(found.variances.values()), tolerance=1e-7, beside="result",
    ),
    "inference.agreement.ceiling_test": Case(
        lambda d: {"rdms": d.stack(3, 5)}, lambda rdms: inference.ceiling_test(rdms, permutations=2)[0],
        lambda rdms: oracle.ceiling(rdms)[0], missing=True,
    ),
    "similarity.mutual_knn": Case(pair, lambda x, y: similarity.mutual_knn(x, y, neighbours=1), mutual_knn),
    "similarity.cknna": Case(pair, lambda x, y: similarity.cknna(x, y, neighbours=1), cknna),
    "similarity.weight_distance": Case(
        lambda d: {"first": d.array(4, 3), "second": d.array(4, 3)}, matched, weights, tolerance=1e-7
    ),
    "similarity.effective_rank": Case(
        lambda d: {"x": d.array(d.n, d.p)}, similarity.effective_rank, reached, tolerance=1e-7
    ),
    "similarity.unit_overlap": Case(
        lambda d: {"weights": d.array(d.n, d.p)}, similarity.unit_overlap, overlapping
    ),
    "similarity.silent_share": Case(
        lambda d: {"activations": d.array(d.n, d.p)}, similarity.silent_share,
        lambda activations: np.mean([len(set(column)) == 1 for column in activations.T.tolist()]),
    ),
    "similarity.disagreement": Case(
        lambda d: {"x": d.array(d.n, d.p), "y": d.array(d.n, d.p)}, similarity.disagreement,
        lambda x, y: np.mean([list(a).index(max(a)) != list(b).index(max(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]),
    ),
}  # fmt: skip
