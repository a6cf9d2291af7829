"""Networks against external data: every layer's RDM against those of brains, of behaviour, or of other networks."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthotrace.analysis.inference.ceilings import POOLS, Ceiling, ceiling
from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.analysis.networks.outside import Kind, read_outside
from orthotrace.analysis.networks.read import Members
from orthotrace.analysis.networks.runs import Stimuli
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.rdms import Measure, RDMs, check_comparable
from orthotrace.analysis.rdm.stored import together
from orthotrace.analysis.rdm.undefined import on_shared
from orthotrace.core.errors import UserError, checked, nearest
from orthotrace.results.statistics import mean_interval


@dataclass(frozen=True)
class Reference:
    """What the configuration says of one reference.

    Attributes:
        path: of the file.
        kind: what its arrays are; None to decide by their shape.
        method: of comparison.
        name: of one RDM of the file; None for all, such as one for each subject.
    """

    path: str
    kind: Kind | None = None
    method: str = "pearson"
    name: str | None = None


@checked
def reference(path: str, kind: Kind | None = None, method: str = "pearson", name: str | None = None) -> Reference:
    """A reference, its values checked.

    Raises:
        UserError: a value of another type, or an unknown method.
    """
    if method not in compare.SIMILARITIES:
        raise UserError(f"there is no comparison '{method}'; {nearest(method, compare.SIMILARITIES)}", "method")
    return Reference(path, kind, method, name)


@dataclass(frozen=True)
class Agreement:
    """How well a layer of the networks of one method agrees with a reference.

    Attributes:
        values: of each network, the mean over the RDMs of the reference.
        mean: over networks.
        low, high: of its interval over networks, by Student's t; None for one network.
    """

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None


def read_references(references: Mapping[str, Reference], stimuli: Stimuli, measure: Measure) -> dict[str, RDMs]:
    """The RDMs of every reference, of these stimuli; of activations by the measure of dissimilarity.

    Raises:
        UserError: what outside.read_outside refuses, or RDMs of other stimuli; names the reference.
    """
    found = {}
    for name, one in references.items():
        try:
            rdms = read_outside(Path(one.path), len(stimuli.labels), one.kind, measure)
        except UserError as error:
            raise error.below(f"references.{name}") from error
        try:
            if one.name is not None:
                rdms = rdms.subset(name=one.name)
            # Whatever both sides say of a stimulus must agree.
            seen = RDMs(np.ones((1, rdms.dissimilarities.shape[1])), None, stimuli.descriptors())
            check_comparable(rdms.relabelled(None), seen)
            constant = np.nanmax(rdms.dissimilarities, axis=1) == np.nanmin(rdms.dissimilarities, axis=1)
            if constant.any():
                raise UserError(
                    f"RDM {int(np.argmax(constant))} of {one.path} is constant: its correlation is undefined"
                )
        except UserError as error:
            raise UserError(str(error), f"references.{name}") from error
        if len(rdms) > 1 and "run" in rdms.descriptors:
            names = ", ".join(map(str, rdms.rdm_descriptors.get("name", [])))
            raise UserError(
                f"{one.path} has the layers of a network ({names}), which are no subjects: choose one, "
                f"+references.{name}.name=LAYER",
                f"references.{name}",
            )
        digest = rdms.descriptors.get("stimuli")
        if digest is not None and digest != stimuli.digest:
            raise UserError(
                f"{one.path} is of other stimuli, or in another order: their digest is {str(digest)[:12]}, here "
                f"{stimuli.digest[:12]}",
                f"references.{name}",
            )
        if missing := int(np.isnan(rdms.dissimilarities).sum()):
            warnings.warn(
                f"references.{name}: {missing} of {rdms.dissimilarities.size} entries of {one.path} are missing (NaN): "
                "each comparison is over those that both RDMs have",
                stacklevel=2,
            )
        found[name] = rdms
    return found


def agreements(
    name: str,
    members: Members,
    layers: Sequence[str],
    rdms: RDMs,
    method: str,
    level: float,
    left_out: list[LeftOut],
) -> tuple[dict[tuple[str, int], dict[str, Agreement]], Ceiling | None]:
    """Agreement of every layer with one reference, (method, task) -> layer -> agreement, by one of compare.METHODS.

    Beside it the noise ceiling, where the reference has RDMs of two subjects and more; `level` is that of intervals.
    Stimuli that a network's RDM lacks are left out; a network that has too few is named in left_out.

    Raises:
        UserError: what the comparison refuses.
    """
    limits = ceiling(rdms.dissimilarities, method) if len(rdms) > 1 and method in POOLS else None
    found: dict[tuple[str, int], dict[str, Agreement]] = {}
    for key, same in members.items():
        for layer in layers:
            of = [one for one in same if layer in one.rdms]
            if not of:
                continue
            by_subject = on_shared(
                compare.METHODS[method], together((one.rdms, layer) for one in of), rdms.dissimilarities
            )
            scores = by_subject.mean(axis=1)
            for one, row in zip(of, by_subject, strict=True):
                if (none := np.isnan(row)).any():
                    beside = "" if none.all() else f" beside RDM {int(none.argmax())} of the reference"
                    why = f"its stimuli that are left are too few, or equal{beside}"
                    left_out.append(one.left_out(layer, f"reference {name}", why))
            values = scores[~np.isnan(scores)].tolist()
            if values:
                over = mean_interval(values, level)
                found.setdefault(key, {})[layer] = Agreement(tuple(values), over.mean, over.low, over.high)
    return found, limits
