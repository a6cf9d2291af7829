"""The report of an analysis: one HTML file that opens offline, and tables for LaTeX."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from orthotrace import __version__
from orthotrace.files import write_text
from orthotrace.latex import latex
from orthotrace.summary import SCORES, TITLES, Group


def write_report(
    folder: Path, grouped: Sequence[Group], results: Mapping[str, Any], pictures: Mapping[str, Path]
) -> Path:
    """Write report.html and tables/*.tex.

    Args:
        folder: of the analysis.
        grouped: the runs.
        results: the content of results.json.
        pictures: caption -> PNG.

    Returns:
        The report.
    """
    scores = [["method", "seeds", *(TITLES[score] for score in SCORES)]]
    scores += [[group.label, str(len(group.runs)), *(group.cell(score) for score in SCORES)] for group in grouped]
    consistency = consistency_table(results)
    write_text(folder / "tables" / "scores.tex", latex(scores))
    if consistency:
        write_text(folder / "tables" / "consistency.tex", latex(consistency))
    template = Environment(autoescape=True).from_string(
        (files("analysis") / "report.html.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        scores=scores,
        consistency=consistency,
        figures=[(caption, path.stem, *embedded(path)) for caption, path in pictures.items()],
        results=results,
        version=__version__,
        networks=sum(len(group.runs) for group in grouped),
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def embedded(picture: Path) -> tuple[str, float]:
    """A PNG of 300 dots an inch as text for a page, and its width in inches."""
    content = picture.read_bytes()
    # The header of a PNG holds the width in bytes 16 to 19.
    return base64.b64encode(content).decode(), int.from_bytes(content[16:20], "big") / 300


def consistency_table(results: Mapping[str, Any]) -> list[list[str]]:
    """Method and task by layer: mean and interval; empty where no method has two seeds."""
    entries = results["consistency"]
    if not entries:
        return []
    rows: dict[tuple[str, int], list[str]] = {}
    for one in entries:
        interval = "" if one["low"] is None else f" [{max(one['low'], 0):.3f}, {min(one['high'], 1):.3f}]"
        row = rows.setdefault((one["method"], one["task"]), [one["interval"]])
        row.append(f"{one['mean']:.3f}{interval}")
    header = ["method", "after task", "interval", *results["layers"]]
    return [header, *([method, str(task), *cells] for (method, task), cells in rows.items())]
