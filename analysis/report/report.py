"""The report of an analysis: one HTML file that opens offline, and tables for LaTeX."""

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from PIL import Image

from orthotrace import __version__
from orthotrace.analysis.inference.ceilings import Ceiling, warning
from orthotrace.analysis.networks.epochs import told
from orthotrace.analysis.networks.left_out import LeftOut, left_out_table
from orthotrace.analysis.networks.places import READ
from orthotrace.analysis.networks.read import AnyGroup
from orthotrace.analysis.report.repeated import Link, Repeated, analysis_command
from orthotrace.analysis.report.sections import ReportSection, cell, empty
from orthotrace.config.folder_names import leaves
from orthotrace.core.digests import remove
from orthotrace.core.files import write_text
from orthotrace.results.collapse import group_lines
from orthotrace.results.columns import DASH, explained, in_common, lacking
from orthotrace.results.comparisons import comparisons
from orthotrace.results.groups import Group
from orthotrace.results.summary import comparison_table, score_latex, score_table
from orthotrace.results.tables import latex, parts

# Letters that a table of scores has room for on the page.
WIDTH = 112
# Bytes above which a picture is embedded with a palette of 256 colours, a third as large.
LARGE = 200_000
# Packages that decide what an analysis finds and draws.
PACKAGES = ("numpy", "scipy", "torch", "matplotlib")


def write_report(
    folder: Path,
    grouped: Sequence[AnyGroup],
    results: Mapping[str, Any],
    pictures: Mapping[str, Path],
    sections: Sequence[ReportSection] = (),
) -> Path:
    """Write report.html, from the content of results.json and pictures (caption -> PNG), and tables/*.tex.

    Sections are those of what was asked beside the usual comparisons.

    Networks that were given have no scores, and are told by what makes them.

    Returns:
        The report.
    """
    runs = [group for group in grouped if isinstance(group, Group)]
    scores, pairs = (score_table(runs), comparisons(runs)) if runs else ([], [])
    score = in_common(group.score for group in runs)
    tables = {
        "consistency": consistency_table(results["consistency"], results["layers"], (0, 1)),
        "centroids": consistency_table(results["centroid_consistency"], results["layers"], (0, 1)),
        **{
            f"similarity-{name}": consistency_table(
                [one for one in results["similarity"] if one["measure"] == name], results["layers"]
            )
            for name in dict.fromkeys(one["measure"] for one in results["similarity"])
        },
        "references": references_table(results),
        "concepts": concepts_table(results["concepts"]),
        **{one.name: one.table for one in sections},
    }
    left_out = left_out_table([LeftOut(**one) for one in results["left_out"]], results["networks"])
    along = "task" if results.get("options", {}).get("epochs") is None else "epoch"
    for table in (left_out, *tables.values()):
        table[:] = [[told(text, along) for text in row] for row in table]
    written: set[str] = set()
    if runs:
        write_text(folder / "tables" / "scores.tex", score_latex(runs))
        written.add("scores")
    if pairs:
        tables["tests"] = comparison_table(pairs)
    for name, table in tables.items():
        if table:
            # A name that a user chose may hold a slash.
            file = re.sub(r"[^\w.+-]", "_", name)
            write_text(folder / "tables" / f"{file}.tex", latex(table))
            written.add(file)
    # What an earlier analysis wrote here and this one has no numbers for.
    for path in (folder / "tables").glob("*.tex"):
        if path.stem not in written:
            remove(path)
    template = Environment(autoescape=True).from_string(
        (files("orthotrace.analysis.report") / "report.html.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        labels=[group.label for group in grouped],
        scores=parts(scores, WIDTH, keep=2) if runs else [],
        explained=explained(scores[0], score) if runs else "",
        lacking=lacking(scores, score) if runs else "",
        empty=empty,
        given=given_table(results.get("given", ())),
        tables=tables,
        sections=sections,
        told=group_lines(runs),
        repeated=Repeated.of(runs, folder) if runs else None,
        figures=[
            (caption, path.stem, *embedded(path), _files_of(path, folder), analysis_command(path.stem))
            for caption, path in pictures.items()
        ],
        files=[Link.to(folder / name, folder, name) for name in ("results.json", "stimuli.csv")]
        + [Link.to(folder / "tables" / f"{name}.tex", folder, f"tables/{name}.tex") for name in sorted(written)],
        results=results,
        left_out=left_out,
        where=READ[results["read"][0]["read"]],
        passed=[one for one in results["read"] if one["after"]],
        version=__version__,
        command=analysis_command(),
        analysis=analysis_table(results.get("options", {})),
        # Ours, without anything of the user's.
        script=Markup((files("orthotrace.analysis.report") / "report.js").read_text(encoding="utf-8")),
        warnings=warnings_of(results["references"]),
        networks=sum(len(group.runs) for group in grouped),
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def given_table(given: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Networks that were given: what makes each, from which file, and its digest; empty without any.

    Example:
        >>> one = {"group": "a", "network": "a-0", "task": 1, "columns": {"seed": 0}, "made by": "Net", "file": "a.pt"}
        >>> given_table([{**one, "digest": "0123456789abcdef"}])[1]
        ['a', 'a-0', 'seed 0', 'Net', 'a.pt', '0123456789ab']
    """
    if not given:
        return []
    tasks = any(one["task"] != 1 for one in given)
    rows = [["group", "network", *(["task"] if tasks else []), "columns", "made by", "file", "digest"]]
    for one in given:
        columns = ", ".join(f"{key} {value}" for key, value in one["columns"].items())
        digest = (one["digest"] or "in memory")[:12]
        task = [str(one["task"])] if tasks else []
        rows.append([one["group"], one["network"], *task, columns, one["made by"], one["file"] or DASH, digest])
    return rows


def _files_of(picture: Path, folder: Path) -> list[Link]:
    """The files of a figure, in the formats that were written, and its numbers."""
    there = [picture.with_suffix(suffix) for suffix in (".pdf", ".svg", ".png", ".csv")]
    return [Link.to(path, folder, path.name) for path in there if path.is_file()]


def warnings_of(references: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be said of chance beside references and their noise ceilings, once for each."""
    found = {}
    for one in references:
        limits = Ceiling(one["ceiling"]["lower"], one["ceiling"]["upper"]) if one["ceiling"] else None
        found[one["reference"]] = warning(limits, one["by"])
    return [f"{name}: {text}" for name, text in found.items() if text]


def embedded(picture: Path) -> tuple[str, float]:
    """A PNG of 300 dots an inch as text for a page, and its width in inches."""
    content = picture.read_bytes()
    # The header of a PNG holds the width in bytes 16 to 19.
    inches = int.from_bytes(content[16:20], "big") / 300
    if len(content) > LARGE:
        smaller = io.BytesIO()
        Image.open(io.BytesIO(content)).convert("RGB").quantize(256).save(smaller, "png", optimize=True)
        content = min(content, smaller.getvalue(), key=len)
    return base64.b64encode(content).decode(), inches


def analysis_table(options: Mapping[str, Any]) -> list[list[str]]:
    """The settings of an analysis that decide what it finds, and the versions that it was made with."""
    rows = [["setting", "value"]]
    rows += [[key, "none" if value is None else str(value)] for key, value in leaves(options)]
    return [*rows, ["versions", ", ".join(f"{name} {version(name)}" for name in PACKAGES)]]


def consistency_table(
    entries: Sequence[Mapping[str, Any]], layers: Sequence[str], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> list[list[str]]:
    """Method and task by layer: mean and interval within the bounds; empty where no method has two seeds."""
    if not entries:
        return []
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for one in entries:
        rows.setdefault((one["method"], str(one["task"]), _interval(one, entries)), {})[one["layer"]] = cell(
            one, bounds
        )
    header = ["method", "after task", "interval", *layers]
    return [header, *([*key, *(cells.get(layer, DASH) for layer in layers)] for key, cells in rows.items())]


def _interval(one: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str:
    """The interval of a row, by the layer of which most networks are compared."""
    same = [other for other in entries if (other["method"], other["task"]) == (one["method"], one["task"])]
    most = max(same, key=lambda other: (other["low"] is not None, other["stimuli"]))
    return most["interval"] + (" and stimuli" if most["stimuli"] else "")


def references_table(results: Mapping[str, Any]) -> list[list[str]]:
    """Reference, method and task by layer, with the noise ceiling; empty without references."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for one in results["references"]:
        limits = one["ceiling"]
        ceiling = DASH if limits is None else f"{limits['lower']:.3f} to {limits['upper']:.3f}"
        key = (one["reference"], one["method"], str(one["task"]), one["by"], ceiling)
        rows.setdefault(key, {})[one["layer"]] = cell(one)
    layers = results["layers"]
    header = ["reference", "method", "after task", "by", "noise ceiling", *layers]
    body = [[*key, *(cells.get(layer, DASH) for layer in layers)] for key, cells in rows.items()]
    return [header, *body] if rows else []


def concepts_table(entries: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Method, layer and detector by concept, after the last task: mean purity over networks; empty without concepts."""
    evaluated = [one for one in entries if one["probe"] is not None]
    if not evaluated:
        return []
    names = {"purity": "axis", "filter": "best filter", "probe": "linear probe", "vector": "concept vector"}
    concepts = list(dict.fromkeys(one["concept"] for one in evaluated))
    rows = [["method", "layer", "after task", "detector", *concepts]]
    for method, layer, task in dict.fromkeys((one["method"], one["layer"], one["task"]) for one in evaluated):
        own = [one for one in evaluated if (one["method"], one["layer"], one["task"]) == (method, layer, task)]
        for key, name in names.items():
            cells = []
            for concept in concepts:
                values = [one[key] for one in own if one["concept"] == concept]
                cells.append(f"{sum(values) / len(values):.3f}" if values else DASH)
            rows.append([method, layer, str(task), name, *cells])
    return rows
