"""What is asked of an analysis beside its usual comparisons: rows of results.json, figures, a part of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orthotrace.analysis.figures.degeneracy import drawings_of_degeneracy
from orthotrace.analysis.figures.dropout import drawings_of_dropout
from orthotrace.analysis.figures.factors import drawings_of_shares
from orthotrace.analysis.figures.forgetting import drawings_of_forgetting
from orthotrace.analysis.networks.epochs import along_of
from orthotrace.analysis.networks.runs import tasks_of
from orthotrace.analysis.report.sections import (
    ReportSection,
    degeneracy_section,
    dropout_section,
    factors_section,
    forgetting_section,
)
from orthotrace.analysis.studies.degeneracy import layer_degeneracy
from orthotrace.analysis.studies.dropout import check_dropout, courses, dropout_consistency
from orthotrace.analysis.studies.factors import check_shares, factor_shares
from orthotrace.analysis.studies.readouts import check_readouts, over_earlier_tasks, readouts
from orthotrace.core.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from orthotrace.analysis.figures.facets import Facets
    from orthotrace.analysis.figures.scores import Drawings
    from orthotrace.analysis.networks.left_out import LeftOut
    from orthotrace.analysis.networks.read import NetworkReadings
    from orthotrace.analysis.networks.runs import Stimuli
    from orthotrace.analysis.settings import Settings


@dataclass(frozen=True)
class ExtraStudy:
    """What one more study found.

    Attributes:
        rows: of results.json.
        drawings: its figures.
        section: its part of the report.
    """

    rows: list[dict[str, Any]]
    drawings: Drawings
    section: ReportSection


def check_extras(grouped: Sequence[Any], settings: Settings) -> None:
    """Refuse what cannot be asked of these networks, before any is read.

    Raises:
        UserError: as readouts.check_readouts, factors.check_shares and dropout.check_dropout.
    """
    if settings.readout:
        if settings.options.get("epochs") is not None:
            raise UserError("is of tasks, not of epochs: leave out epochs", "readout")
        check_readouts(grouped)
    if settings.factors:
        runs = [run for group in grouped for run in group.runs]
        check_shares([(run, task) for run in runs for task in tasks_of(run, settings.tasks)], settings.factors)
    if settings.dropout.samples:
        if settings.time.spikes and settings.dropout.average == "activations":
            raise UserError("a mean of spike trains is none: rdms averages their distances", "dropout.average")
        check_dropout([(group.runs[0], tasks_of(group.runs[0], settings.tasks)[-1]) for group in grouped])


def extra_studies(
    grouped: Sequence[Any],
    readings: NetworkReadings,
    stimuli: Stimuli,
    settings: Settings,
    facets: Facets,
    out: Path | None,
    left_out: list[LeftOut],
) -> Mapping[str, ExtraStudy]:
    """What the settings ask for, by its name in results.json.

    Raises:
        UserError: as readouts.readouts, factors.factor_shares and dropout.dropout_consistency.
    """
    level, found = settings.interval["level"], {}
    if settings.readout:
        rows = readouts(grouped, settings.layers, settings.read, level, settings.windows, settings.spreading)
        found["readouts"] = ExtraStudy(
            [asdict(one) for one in rows],
            drawings_of_forgetting(rows, facets),
            forgetting_section(over_earlier_tasks(rows, level), level),
        )
    if settings.degeneracy:
        along = along_of(network.run for network in readings.networks)
        degenerate = layer_degeneracy(readings, stimuli, settings.read, level, settings.spreading)
        found["degeneracy"] = ExtraStudy(
            [asdict(one) for one in degenerate],
            drawings_of_degeneracy(degenerate, facets, along),
            degeneracy_section(degenerate, level, along),
        )
    if settings.factors:
        shares = factor_shares(readings.networks, readings.layers, settings.factors, level, left_out)
        found["factors"] = ExtraStudy(
            [asdict(one) for one in shares], drawings_of_shares(shares), factors_section(shares, readings.layers, level)
        )
    if settings.dropout.samples:
        sampled = dropout_consistency(
            readings, stimuli, settings.measure, settings.dropout, out, settings.called, settings.interval,
            settings.spreading,
        )  # fmt: skip
        found["dropout"] = ExtraStudy(
            [
                {"method": method, "task": task, "layer": layer, "samples": count, **asdict(one)}
                for count, of in sampled.items()
                for (method, task), by_layer in of.items()
                for layer, one in by_layer.items()
            ],
            drawings_of_dropout(courses(sampled), settings.dropout, facets),
            dropout_section(courses(sampled), settings.dropout, readings.layers, level),
        )
    return found
