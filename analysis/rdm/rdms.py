"""A set of RDMs with descriptors of its stimuli and of the RDMs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arguments import in_turn
from orthotrace.analysis.rdm.arrays import described, index_of, is_plain, kinds_of, labels, numbers, same_index, unit_of
from orthotrace.analysis.rdm.precisions import of_representations
from orthotrace.analysis.rdm.triangles import checked_triangle, places_of, ranks, square, stimuli_of
from orthotrace.core.errors import UserError, nearest, refuse_unknown

Measure = Callable[..., ArrayLike]


@dataclass(frozen=True, eq=False)
class RDMs:
    """RDMs of the same stimuli, as upper triangles. All functions on stacks of RDMs take it as it is.

    Attributes:
        dissimilarities: (k, n (n - 1) / 2), upper triangles, row by row.
        measure: by which they were made; None where it is unknown, which may be compared with any other.
        pattern_descriptors: name -> (n,), of the stimuli, such as their categories.
        rdm_descriptors: name -> (k,), of the RDMs, such as their layers and seeds.
        descriptors: of the whole, such as a digest of the stimuli.

    Raises:
        UserError: vectors that are no triangle of a matrix, infinite entries (missing ones are NaN), or descriptors of
            another length.

    Example:
        >>> found = RDMs.of({"one": np.eye(4), "two": np.arange(8.0).reshape(4, 2)}, "euclidean",
        ...                 pattern_descriptors={"kind": ["a", "a", "b", "b"]})
        >>> len(found), found.stimuli, found.subset(name="two").matrices()[0, 0].round(2)
        (2, 4, array([0.  , 2.83, 5.66, 8.49]))
        >>> found.averaged("kind").dissimilarities.round(2)
        array([[1.41],
               [5.66]])
    """

    dissimilarities: NDArray[np.float64]
    measure: str | None = None
    pattern_descriptors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    rdm_descriptors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    descriptors: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = numbers(self.dissimilarities, "dissimilarities", missing=True)
        values = values[None] if values.ndim == 1 else values
        if values.ndim != 2 or not values.size:
            raise UserError(f"upper triangles (k, n (n - 1) / 2) are needed, got shape {values.shape}")
        if (infinite := np.isinf(values).any(axis=1)).any():
            raise UserError(
                f"RDM {int(np.argmax(infinite))} has infinite entries: NaN is for those that are missing",
                "dissimilarities",
            )
        object.__setattr__(self, "dissimilarities", values)
        sizes = {"pattern_descriptors": stimuli_of(values.shape[1]), "rdm_descriptors": len(values)}
        for which, size in sizes.items():
            given = {name: described(one, f"{which}['{name}']") for name, one in getattr(self, which).items()}
            for name, one in given.items():
                if one.shape != (size,):
                    raise UserError(f"{which}['{name}'] has shape {one.shape}, not ({size},)")
            object.__setattr__(self, which, given)

    @classmethod
    def of(
        cls,
        activations: Mapping[str, Any] | Sequence[Any] | Any,
        measure: str | Measure = "correlation",
        pattern_descriptors: Mapping[str, ArrayLike] | None = None,
        **options: Any,
    ) -> RDMs:
        """RDMs of the activations of one or more layers or networks on the same stimuli.

        Args:
            activations: (n, ...), or name -> (n, ...), a list or iterator of them; the index of a frame, where it says
                more than 0, 1, 2, ..., becomes a descriptor of the stimuli, and so do the conditions of crossnobis.
            measure: a name of rdm.MEASURES, or a function of activations that gives an upper triangle.
            pattern_descriptors: name -> (n,).
            options: of the measure; a precision of mahalanobis or crossnobis may be given by representation, by name.

        Raises:
            UserError: an unknown measure, or what the measure refuses; names the representation.

        Example:
            >>> RDMs.of(np.eye(3), "squared_euclidean", per_feature=True).dissimilarities.round(3)
            array([[0.667, 0.667, 0.667]])
        """
        from orthotrace.analysis.rdm.dissimilarity import MEASURES

        if isinstance(measure, partial):
            measure, options = measure.func, {**measure.keywords, **options}
        if callable(measure):
            function, name = measure, getattr(measure, "__name__", type(measure).__name__)
        else:
            refuse_unknown([measure], list(MEASURES), "there is no measure")
            function, name = MEASURES[measure], measure
        activations = in_turn(activations)
        if isinstance(activations, Mapping):
            named = dict(activations)
        elif isinstance(activations, (list, tuple)) and all(_is_many(one) for one in activations):
            named = {str(number): one for number, one in enumerate(activations)}
        else:
            named = {"0": activations}
        if not named:
            raise UserError("no activations were given; what activations() gives is read once: keep dict(...) of it")
        same_index(**{f"representation '{key}'": one for key, one in named.items()})
        of_each = [options] * len(named)
        if name in ("mahalanobis", "crossnobis"):
            of_each = of_representations(options, list(named))
        found = []
        for (key, values), own in zip(named.items(), of_each, strict=True):
            try:
                made = function(values, **own)
                found.append(checked_triangle(made, _length(values), name, bool(own.get("missing"))))
            # Of a measure of the user's own too.
            except (UserError, ValueError, TypeError) as error:
                raise UserError(f"representation '{key}': {error}") from error
            if found[-1].shape != found[0].shape:
                raise UserError(f"representation '{key}' has another number of stimuli than '{next(iter(named))}'")
        about: dict[str, Any] = dict(pattern_descriptors or {})
        # A measure of conditions, such as crossnobis, gives them in their sorted order.
        if "conditions" in options and len(found[0]) != _length(next(iter(named.values()))):
            kinds, _ = kinds_of(labels(options["conditions"], "conditions"), "conditions")
            if stimuli_of(len(found[0])) == len(kinds):
                about.setdefault("conditions", kinds)
        index = next((one for values in named.values() if (one := index_of(values)) is not None), None)
        if index is not None and not is_plain(index) and stimuli_of(len(found[0])) == len(index):
            about.setdefault(str(index.name or "index"), index)
        return cls(np.stack(found), name, about, {"name": np.array(list(named))})

    def __len__(self) -> int:
        return len(self.dissimilarities)

    def __getitem__(self, index: Any) -> RDMs:
        """RDMs at a place, a slice or a list of places."""
        places = np.arange(len(self))[index] if isinstance(index, slice) else np.atleast_1d(index)
        return self.take(places)

    def __iter__(self) -> Iterator[RDMs]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        described = ", ".join([*self.rdm_descriptors, *self.pattern_descriptors]) or "nothing"
        missing = int(np.isnan(self.dissimilarities).sum())
        gaps = f", {missing} entries missing" if missing else ""
        return f"RDMs({len(self)} of {self.stimuli} stimuli{gaps}, measure={self.measure!r}, described by {described})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.dissimilarities, dtype=dtype, copy=copy)

    @property
    def stimuli(self) -> int:
        """How many."""
        return stimuli_of(self.dissimilarities.shape[1])

    def matrices(self) -> NDArray[np.float64]:
        """(k, n, n), symmetric, with zeros on the diagonals."""
        return np.stack([square(one) for one in self.dissimilarities])

    def take(self, index: ArrayLike) -> RDMs:
        """The RDMs at these places, in this order; a place may come more than once."""
        at = _places(index, len(self), "RDMs")
        return replace(
            self,
            dissimilarities=self.dissimilarities[at],
            rdm_descriptors={name: one[at] for name, one in self.rdm_descriptors.items()},
        )

    def take_patterns(self, index: ArrayLike) -> RDMs:
        """RDMs of the stimuli at these places, in this order, each at most once.

        Raises:
            UserError: fewer than three stimuli, or one that comes twice: its distance from itself is no dissimilarity.
        """
        at = _places(index, self.stimuli, "stimuli")
        if len(set(at.tolist())) < max(3, len(at)):
            raise UserError(f"three different stimuli or more are needed, each once (got {at.tolist()[:10]})")
        rows, columns = (at[places] for places in np.triu_indices(len(at), 1))
        n = self.stimuli
        return replace(
            self,
            dissimilarities=self.dissimilarities[:, places_of(rows, columns, n)],
            pattern_descriptors={name: one[at] for name, one in self.pattern_descriptors.items()},
            descriptors=self._of_others(at.tolist()) if at.tolist() != list(range(n)) else self.descriptors,
        )

    def _of_others(self, how: Any) -> dict[str, Any]:
        """The descriptors, with the digest of other stimuli made of these."""
        found = dict(self.descriptors)
        if found.get("stimuli") is not None:
            found["stimuli"] = hashlib.sha256(f"{found['stimuli']}:{how}".encode()).hexdigest()
        return found

    def subset(self, **where: Any) -> RDMs:
        """The RDMs whose descriptors have these values, or one of a list of values.

        Raises:
            UserError: no such descriptor, or none that matches.
        """
        return self.take(_matching(self.rdm_descriptors, where, len(self)))

    def subset_patterns(self, **where: Any) -> RDMs:
        """RDMs of the stimuli whose descriptors have these values, or one of a list of values.

        Raises:
            UserError: as subset; fewer than three stimuli.
        """
        return self.take_patterns(_matching(self.pattern_descriptors, where, self.stimuli))

    def averaged(self, by: str) -> RDMs:
        """RDMs of categories: the mean dissimilarity of the pairs of stimuli of two categories, in sorted order.

        Args:
            by: a descriptor of the stimuli.

        Raises:
            UserError: no such descriptor, one category only, or entries that are missing.
        """
        kinds, which = kinds_of(_descriptor(self.pattern_descriptors, by), by)
        if np.isnan(self.dissimilarities).any():
            raise UserError("averages need every dissimilarity, some are missing (NaN)")
        if len(kinds) < 2:
            raise UserError(f"all stimuli have the same '{by}': averages need two categories")
        member = np.eye(len(kinds))[which] / np.bincount(which)[which][:, None]
        unit = unit_of(self.dissimilarities)
        between = member.T @ (self.matrices() / unit) @ member * unit
        rows, columns = np.triu_indices(len(kinds), 1)
        return replace(
            self,
            dissimilarities=between[:, rows, columns],
            pattern_descriptors={by: kinds},
            descriptors=self._of_others(which.tolist()),
        )

    def ranked(self) -> RDMs:
        """Every dissimilarity by its rank from 1 within its RDM; ties share their mean rank, missing stay missing."""
        found = np.full_like(self.dissimilarities, np.nan)
        for one, into in zip(self.dissimilarities, found, strict=True):
            there = ~np.isnan(one)
            into[there] = ranks(one[None, there])[0]
        named = None if self.measure is None else f"{self.measure} (ranks)"
        return replace(self, dissimilarities=found, measure=named)

    def mean(self, by: str | None = None) -> RDMs:
        """The mean RDM; of each value of a descriptor of the RDMs, in sorted order, where one is named.

        Of each entry over the RDMs that have it; where these are of different scale, see rdm.combined.

        Raises:
            UserError: no such descriptor.
        """
        if by is None:
            return replace(self, dissimilarities=_mean(self.dissimilarities)[None], rdm_descriptors={})
        kinds, which = kinds_of(_descriptor(self.rdm_descriptors, by), by)
        means = np.stack([_mean(self.dissimilarities[which == number]) for number in range(len(kinds))])
        return replace(self, dissimilarities=means, rdm_descriptors={by: kinds})

    def relabelled(self, measure: str | None) -> RDMs:
        """The same RDMs with another name of their measure; None may be compared with any other."""
        return replace(self, measure=measure)


def joined(parts: Iterable[RDMs]) -> RDMs:
    """RDMs of the same stimuli, one set after the other, with the descriptors that all have.

    What describes each set as a whole, and differs between them, such as their networks, describes their RDMs from then
    on.

    Raises:
        UserError: no parts, or parts that are not comparable.

    Example:
        >>> one = RDMs.of(np.eye(3))
        >>> len(joined([one, one]))
        2
    """
    parts = list(parts)
    if not parts:
        raise UserError("no RDMs to join")
    first = known = parts[0]
    for other in parts[1:]:
        check_comparable(known, other)
        # What one part does not say of the stimuli, or of the measure, another may.
        known = replace(
            known,
            measure=known.measure or other.measure,
            pattern_descriptors={**other.pattern_descriptors, **known.pattern_descriptors},
            descriptors={**other.descriptors, **known.descriptors},
        )
    same: dict[str, Any] = {}
    described: dict[str, NDArray[Any]] = {}
    for name in first.descriptors:
        values = [one.descriptors.get(name) for one in parts]
        if all(value == values[0] for value in values):
            same[name] = values[0]
        elif all(isinstance(value, (str, int, float, np.generic)) for value in values):
            described[name] = np.repeat(np.array(values), [len(one) for one in parts])
    for name in first.rdm_descriptors:
        if all(name in one.rdm_descriptors for one in parts):
            described[name] = np.concatenate([one.rdm_descriptors[name] for one in parts])
    return replace(
        first,
        # One that is not known leaves all unknown.
        measure=None if None in [one.measure for one in parts] else first.measure,
        dissimilarities=np.concatenate([one.dissimilarities for one in parts]),
        rdm_descriptors=described,
        descriptors=same,
    )


def check_comparable(first: RDMs, second: RDMs) -> None:
    """Refuses RDMs of another number of stimuli, other stimuli, or the same in another order, or another measure.

    Raises:
        UserError: names the first fault.
    """
    if first.stimuli != second.stimuli:
        raise UserError(f"RDMs of {first.stimuli} and of {second.stimuli} stimuli cannot be compared")
    if None not in (first.measure, second.measure) and first.measure != second.measure:
        raise UserError(
            f"RDMs by '{first.measure}' and by '{second.measure}': make both by one measure, or call "
            "relabelled(None) to compare them anyway"
        )
    for name in first.pattern_descriptors.keys() & second.pattern_descriptors.keys():
        ours, theirs = first.pattern_descriptors[name], second.pattern_descriptors[name]
        same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
        if not np.all(same):
            at = int(np.argmin(same))
            raise UserError(
                f"the RDMs are of other stimuli, or in another order: '{name}' of stimulus {at} is {ours[at]} and "
                f"{theirs[at]}"
            )
    digests = [one.descriptors.get("stimuli") for one in (first, second)]
    if None not in digests and digests[0] != digests[1]:
        raise UserError(
            f"the RDMs are of other stimuli, or in another order: their digests are {str(digests[0])[:12]} and "
            f"{str(digests[1])[:12]}"
        )


def _mean(rdms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean RDM, of those that have an entry, also of entries whose sum is too large a number."""
    has = ~np.isnan(rdms)
    unit = unit_of(np.where(has, rdms, 0))
    if not has.all():
        number = has.sum(0)
        return np.where(number > 0, np.where(has, rdms / unit, 0).sum(0) / np.maximum(number, 1), np.nan) * unit
    return rdms.mean(0) if unit == 1 else (rdms / unit).mean(0) * unit


def _is_many(values: Any) -> bool:
    """Whether it has two dimensions or more: a representation, not the pattern of a stimulus."""
    if hasattr(values, "ndim"):
        return values.ndim > 1
    return isinstance(values, (list, tuple)) and len(values) > 0 and hasattr(values[0], "__len__")


def _length(values: Any) -> int:
    return values.shape[0] if hasattr(values, "shape") else len(values)


def _places(index: ArrayLike, number: int, what: str) -> NDArray[np.intp]:
    """Places, from numbers or flags; a UserError where there are none, or one is not there."""
    given = described(index, "index")
    got = f"(got {given.tolist()[:10] if given.ndim else given})"
    try:
        found = np.arange(number)[given] if given.size else given
    except IndexError as error:
        raise UserError(f"there are {number} {what}, places 0 to {number - 1} {got}") from error
    if found.ndim != 1 or not found.size:
        raise UserError(f"places of some {what} are needed {got}")
    return found


def _descriptor(descriptors: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name in descriptors and descriptors[name].dtype.kind == "O":
        raise UserError(f"descriptor '{name}' has values of several kinds, which have no order")
    if name not in descriptors:
        raise UserError(f"there is no descriptor '{name}'; {nearest(name, descriptors)}")
    return descriptors[name]


def _matching(descriptors: Mapping[str, NDArray[Any]], where: Mapping[str, Any], size: int) -> NDArray[np.intp]:
    kept = np.ones(size, dtype=bool)
    for name, wanted in where.items():
        values = _descriptor(descriptors, name)
        options = set(wanted) if isinstance(wanted, (list, tuple, set, frozenset, np.ndarray)) else {wanted}
        kept &= np.array([value in options for value in values.tolist()], dtype=bool)
    if not kept.any():
        raise UserError(f"nothing matches {', '.join(f'{name}={value}' for name, value in where.items())}")
    return np.flatnonzero(kept)
