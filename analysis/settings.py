"""How networks are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.networks.trains import TrainDistance
from orthotrace.analysis.networks.windows import TimeReading
from orthotrace.analysis.rdm.arguments import generator
from orthotrace.analysis.studies.consistency import check_interval
from orthotrace.analysis.studies.dropout import DropoutSampling
from orthotrace.core.errors import refuse_unknown

if TYPE_CHECKING:
    from orthotrace.analysis.networks.places import Read
    from orthotrace.analysis.rdm.rdms import Measure
    from orthotrace.analysis.studies.references import Reference
    from orthotrace.analysis.studies.similarities import Similarity

INTERVAL = {"method": "jackknife", "level": 0.95, "resamples": 2000, "seed": 0, "stimuli": False}


def interval_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of intervals over pairs, checked before anything is read; those that are not given as they are.

    Raises:
        UserError: an unknown one, or a value out of its range; see consistency.between_networks.

    Example:
        >>> interval_of({"level": 0.9})["level"]
        0.9
    """
    refuse_unknown(given, list(INTERVAL), "there is no option")
    options = {**INTERVAL, **given}
    check_interval(options["method"], options["level"], options["resamples"])
    generator(options["seed"])
    return options


@dataclass(frozen=True)
class Settings:
    """How networks are compared: the keys of orthotrace-analyze of the same names.

    Attributes:
        options: that results.json repeats.
        measure: of dissimilarity; options["rdm"] is its name.
        layers: names or patterns; None for all.
        read: where layers are read.
        tasks: after which.
        measures: of similarity of activations.
        references: data from outside.
        interval: of means over pairs.
        readout: take forgetting apart, see studies.readouts.
        degeneracy: tell how degenerate layers are, see studies.degeneracy.
        factors: of which it is told how much of the variance of RDMs each explains, see studies.factors.
        dropout: masks of dropout that are drawn at test too.
        windows: of time, in which spiking networks are read; None for their firing rates.
        formats: of figures.
        style: of figures.
        figures: names or patterns of those to draw; None for all.
        spreading: of the work over processes.
        memory: that the process may take, such as 8GB; None for no bound. It decides no number.
    """

    options: Mapping[str, Any]
    measure: Measure
    layers: Sequence[str] | None = None
    read: Read = "post"
    tasks: Any = "last"
    measures: Mapping[str, Similarity] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    interval: Mapping[str, Any] = field(default_factory=lambda: dict(INTERVAL))
    readout: bool = False
    degeneracy: bool = False
    factors: Sequence[str] = ()
    dropout: DropoutSampling = field(default_factory=DropoutSampling)
    windows: int | None = None
    formats: Sequence[str] = ("pdf", "svg", "png")
    style: str = "nature"
    figures: Sequence[str] | None = None
    spreading: Spreading = field(default_factory=Spreading)
    memory: str | None = None

    @property
    def time(self) -> TimeReading:
        """How spiking networks are read."""
        return TimeReading(self.windows, isinstance(self.measure, TrainDistance))

    @property
    def called(self) -> str:
        """The measure of dissimilarity, with the constant of a distance of spike trains."""
        return self.measure.called if isinstance(self.measure, TrainDistance) else str(self.options["rdm"])
