"""RDMs of overlapping stimuli: put side by side, brought to one scale, and combined into one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import number, whole
from orthotrace.analysis.rdm.arrays import labels, representable, unit_of
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.triangles import places_of
from orthotrace.core.errors import UserError, nearest, refuse_unknown

Matrix = NDArray[np.float64]
Rescaling = Literal["evidence", "setsize", "simple"]
# A dissimilarity below this is no weaker evidence, as in rsatoolbox.
LEAST = 0.2


def expanded(parts: Iterable[RDMs], by: str, stimuli: ArrayLike | None = None) -> RDMs:
    """RDMs of other stimuli each, as RDMs of all of them: what a part does not have is missing (NaN).

    Args:
        parts: RDMs of some of the stimuli.
        by: the descriptor of the stimuli that names them, in every part.
        stimuli: names of all, in the order wanted; None for those of the parts, as they come.

    Returns:
        The RDMs of all parts, one after the other, with the descriptors of the RDMs and of the stimuli that all parts
        have.

    Raises:
        UserError: no parts, a part without names or in which one comes twice, another measure, a stimulus that is not
            among those named, or that is described otherwise in another part.

    Source: as rsatoolbox's from_partials.

    Example:
        >>> a = RDMs([1.0, 2.0, 3.0], None, {"image": ["cat", "dog", "cow"]})
        >>> b = RDMs([9.0, 8.0, 7.0], None, {"image": ["cow", "cat", "hen"]})
        >>> expanded([a, b], "image").dissimilarities
        array([[ 1.,  2., nan,  3., nan, nan],
               [nan,  9.,  7., nan, nan,  8.]])
    """
    parts = list(parts)
    if not parts:
        raise UserError("no RDMs to combine", "parts")
    names = [_names(part, by, place) for place, part in enumerate(parts)]
    measures = {part.measure for part in parts if part.measure is not None}
    if len(measures) > 1:
        shown = " and ".join(f"'{one}'" for one in sorted(measures))
        raise UserError(f"RDMs by {shown}: make all by one measure, or call relabelled(None) to combine them anyway")
    every = list(dict.fromkeys(name for one in names for name in one))
    order = every if stimuli is None else labels(stimuli, "stimuli").tolist()
    if len(set(order)) < len(order):
        raise UserError("a name comes twice", "stimuli")
    if unknown := [name for name in every if name not in set(order)]:
        raise UserError(f"{unknown[0]!r} is not among the stimuli named", "stimuli")
    if len(order) < 3:
        raise UserError(f"at least three stimuli are needed (got {len(order)})", "stimuli")
    place = {name: at for at, name in enumerate(order)}
    n = len(order)
    found = np.full((sum(map(len, parts)), n * (n - 1) // 2), np.nan)
    start = 0
    for part, own in zip(parts, names, strict=True):
        at = np.array([place[name] for name in own])
        rows, columns = (at[places] for places in np.triu_indices(len(at), 1))
        found[start : start + len(part), places_of(rows, columns, n)] = part.dissimilarities
        start += len(part)
    return RDMs(
        found,
        next(iter(measures)) if all(part.measure for part in parts) else None,
        {**_of_stimuli(parts, names, order, by), by: np.array(order)},
        {
            name: np.concatenate([part.rdm_descriptors[name] for part in parts])
            for name in parts[0].rdm_descriptors
            if all(name in part.rdm_descriptors for part in parts)
        },
        {
            name: value
            for name, value in parts[0].descriptors.items()
            # Other stimuli have another digest.
            if name != "stimuli" and all(part.descriptors.get(name) == value for part in parts)
        },
    )


def rescaled(
    rdms: RDMs, method: Rescaling = "evidence", tolerance: float = 1e-20, iterations: int = 10_000
) -> tuple[RDMs, Matrix]:
    """RDMs that miss different entries, brought to one scale, and the weights of their entries.

    Until the sum of squares of the change of m, the current estimate of one RDM of length 1, is at most the tolerance:

        d_k <- d_k / |d_k| |m over the entries of k|,  m <- sum_k w_k d_k / sum_k w_k over those that have an entry

    "evidence": w_k = max(d_k, 0.2)^2 of the dissimilarities given, as where things that are far apart were judged more
    surely (multiple arrangements). "setsize": w_k = 1 / (number of entries of k). "simple": w_k = 1.

    Args:
        rdms: such as those of expanded.
        method: of the three.
        tolerance: at least 0.
        iterations: at most.

    Returns:
        The RDMs on one scale, and the weights (k, m); NaN where they are missing.

    Raises:
        UserError: an unknown method, an RDM that is zero, RDMs of which some share no entry with the others, even
            through third ones, so that they have no common scale, or too few iterations.

    Source: as rsatoolbox's rescale; Kriegeskorte & Mur, Frontiers in Psychology 3:245 (2012), for evidence.

    Example:
        >>> nan = np.nan
        >>> found, _ = rescaled(RDMs([[1.0, 2.0, 2.0, nan, nan, nan], [4.0, 8.0, nan, 4.0, nan, nan]]), "simple")
        >>> (found.dissimilarities / found.dissimilarities[0, 0]).round(3)
        array([[ 1.,  2.,  2., nan, nan, nan],
               [ 1.,  2., nan,  1., nan, nan]])
    """
    refuse_unknown([method], get_args(Rescaling), "there is no rescaling", "method")
    number(tolerance, "tolerance", "a tolerance of at least 0", lambda one: one >= 0)
    whole(iterations, "iterations", 1)
    values = np.ascontiguousarray(rdms.dissimilarities)
    has = ~np.isnan(values)
    _refuse_apart(has)
    given = np.where(has, values, 0)
    sizes = np.maximum(np.abs(given).max(axis=1, keepdims=True), 0)
    if (zero := sizes[:, 0] == 0).any():
        raise UserError(f"RDM {int(np.argmax(zero))} is zero: it has no scale")
    unit = unit_of(given)
    weights = has.astype(np.float64)
    if method == "evidence":
        # In units in which squares are numbers.
        scale = max(unit, LEAST)
        weights = np.where(has, np.maximum(given / scale, max(LEAST / scale, 1e-150)) ** 2, 0)
    elif method == "setsize":
        weights = weights / has.sum(axis=1, keepdims=True)
    # In units of the largest entry of each: squares stay numbers.
    lengths = np.sqrt(((given / sizes) ** 2).sum(axis=1, keepdims=True))
    directions = given / sizes / lengths
    total = weights.sum(axis=0)
    estimate = _unit((given / unit).sum(axis=0) / np.maximum(has.sum(axis=0), 1))
    for _ in range(iterations):
        aligned = directions * np.sqrt((np.where(has, estimate, 0) ** 2).sum(axis=1, keepdims=True))
        before, estimate = estimate, _unit((weights * aligned).sum(axis=0) / np.where(total > 0, total, 1))
        if ((estimate - before) ** 2).sum() <= tolerance:
            break
    else:
        raise UserError(f"no common scale after {iterations} iterations: raise the tolerance", "iterations")
    found = representable(aligned, "rdms")
    return replace(rdms, dissimilarities=np.where(has, found, np.nan)), np.where(has, weights, np.nan)


def combined(
    parts: Iterable[RDMs], by: str, method: Rescaling | None = "evidence", stimuli: ArrayLike | None = None
) -> RDMs:
    """One RDM of all stimuli, from RDMs of overlapping parts of them.

        D = sum_k w_k d_k / sum_k w_k over the RDMs that have an entry

    Args:
        parts: RDMs of some of the stimuli, one or more in each part.
        by: the descriptor of the stimuli that names them.
        method: of rescaled, which brings the RDMs to one scale, and weights them; None for plain means of RDMs that are
            of one scale already.
        stimuli: as for expanded.

    Returns:
        One RDM; pairs of stimuli that no part has together are missing (NaN). Comparisons and inference leave them out.

    Raises:
        UserError: as expanded and rescaled.

    Example:
        >>> a = RDMs([1.0, 2.0, 2.0], None, {"image": ["cat", "dog", "cow"]})
        >>> b = RDMs([4.0, 8.0, 4.0], None, {"image": ["cow", "dog", "hen"]})
        >>> found = combined([a, b], "image", method="simple")
        >>> found.pattern_descriptors["image"].tolist(), int(np.isnan(found.dissimilarities).sum())
        (['cat', 'dog', 'cow', 'hen'], 1)
        >>> combined([a, b], "image", method=None).dissimilarities
        array([[ 1.,  2., nan,  3.,  4.,  8.]])
    """
    every = expanded(parts, by, stimuli)
    if method is None:
        return every.mean()
    found, weights = rescaled(every, method)
    total = np.nansum(weights, axis=0)
    summed = np.nansum(found.dissimilarities * weights, axis=0)
    mean = np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)
    return replace(every, dissimilarities=mean[None], rdm_descriptors={})


def _names(part: RDMs, by: str, place: int) -> list[Any]:
    """Of the stimuli of a part."""
    if not isinstance(part, RDMs):
        raise UserError(
            f"part {place} is no RDMs: make it by RDMs(..., pattern_descriptors={{'{by}': names}})", "parts"
        )
    if by not in part.pattern_descriptors:
        raise UserError(f"part {place} has no descriptor '{by}'; {nearest(by, part.pattern_descriptors)}", "parts")
    found = labels(part.pattern_descriptors[by], f"'{by}' of part {place}").tolist()
    name, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise UserError(f"part {place} has two stimuli of the name {name!r}: average them, or name them apart", "parts")
    return found


def _of_stimuli(parts: list[RDMs], names: list[list[Any]], order: list[Any], by: str) -> dict[str, NDArray[Any]]:
    """Other descriptors of the stimuli that all parts have, in the order of their names."""
    found = {}
    for key in parts[0].pattern_descriptors:
        if key == by or not all(key in part.pattern_descriptors for part in parts):
            continue
        values: dict[Any, Any] = {}
        for part, own in zip(parts, names, strict=True):
            for name, value in zip(own, part.pattern_descriptors[key].tolist(), strict=True):
                known = values.setdefault(name, value)
                if known != value and not (known != known and value != value):
                    raise UserError(f"'{key}' of {name!r} is {known} in one part and {value} in another", "parts")
        if len(values) == len(order):
            found[key] = np.array([values[name] for name in order])
    return found


def _refuse_apart(has: NDArray[np.bool_]) -> None:
    """RDMs that share entries, directly or through others, have a common scale."""
    from scipy.sparse.csgraph import connected_components

    count, group = connected_components(has.astype(float) @ has.T > 0, directed=False)
    if count > 1:
        apart = int(np.argmax(group != group[0]))
        raise UserError(
            f"RDM {apart} shares no pair of stimuli with RDM 0, even through others: they have no common scale; "
            "method=None takes them as they are"
        )


def _unit(one: Matrix) -> Matrix:
    return one / np.sqrt((one**2).sum())
