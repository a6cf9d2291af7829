"""Learning-rate range tests: the loss over the rate, and the bounds that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, NullFormatter

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.lines import pairs_of_panels
from orthotrace.analysis.figures.style import Drawn, figure_function, pt
from orthotrace.core.files import read_json
from orthotrace.results.columns import WORDS

if TYPE_CHECKING:
    from orthotrace.results.run_folder import Run


def range_test_of(run: Run) -> dict[str, Any] | None:
    """The content of a run's range_test.json; None where it made no such test.

    Raises:
        UserError: the file is damaged.
    """
    return read_json(run.range_file) if run.range_file.is_file() else None


@figure_function
def loss_over_rates(
    tests: Mapping[str, Sequence[Mapping[str, Any]]], facets: Facets | None = None, score: str = "accuracy"
) -> Drawn:
    """The smoothed training loss of each step, and the score of its batch, over the learning rate of the step.

    A line for each seed, and dotted lines at the bounds that its test found. A loss far above where it began is drawn
    at the upper edge, so that the rest can be seen.

    Args:
        tests: method -> of each seed what range_test.json has.
        facets: a line of panels each.
        score: the name of the score in it, see columns.WORDS.
    """
    labels = ("Training loss", f"{WORDS[score].capitalize()} of\nthe batch")
    facets = facets or Facets.one(tests)
    figure, panels = pairs_of_panels(shown := facets.within(tests), labels)
    rows: list[dict[str, Any]] = []
    edge = 1.1 * max(test["smoothed"][0] for seeds in tests.values() for test in seeds)
    for line, (facet, of) in enumerate(shown.items()):
        for method, name in of.items():
            look = facets.look(name)
            for seed, test in enumerate(tests[method]):
                losses = [min(loss, edge) for loss in test["smoothed"]]
                for axes, values in zip(panels[line], (losses, test[score]), strict=True):
                    axes.plot(test["rate"], values, look["linestyle"], color=look["color"], linewidth=pt(0.7))
                    for bound in (test["lower"], test["upper"]):
                        if bound is not None:
                            axes.axvline(bound, color=look["color"], linestyle=":", linewidth=pt(0.6), zorder=0)
                rows += [
                    {"facet": facet, "method": method, "seed": seed, "rate": rate, "loss": loss, score: value}
                    for rate, loss, value in zip(test["rate"], test["smoothed"], test[score], strict=True)
                ]
    for axes in panels.flat:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for axes in panels[-1]:
        axes.set_xlabel("Learning rate")
    panels[0, 0].set_ylim(bottom=0)
    facets.legend(figure, tests)
    return figure, rows
