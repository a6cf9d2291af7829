"""Concepts against concepts, axes against axes, concepts against classes: heat maps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from orthotrace.analysis.concepts.axes import Separability
from orthotrace.analysis.concepts.importance import Importance
from orthotrace.analysis.figures.concepts import fits
from orthotrace.analysis.figures.style import Drawn, canvas, figure_function, grid, letter, now, pt, size_of
from orthotrace.analysis.figures.text import shown, wrapped

# More columns than this are too small to write in, more rows or columns to write in or name.
WRITTEN, NAMED = 12, 40
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1, 1.25, 2, 5, 10, 20, 50, 100)


@figure_function
def separability_maps(found: Mapping[str, Separability], concepts: Sequence[str]) -> Drawn:
    """Similarity between concepts relative to that within them, |Q|: a heat map of each network, side by side.

    Args:
        found: name of the network -> its separability.
        concepts: names.

    Raises:
        UserError: another number of names than of concepts or classes.
    """
    fits(concepts, {name: len(one.normalised) for name, one in found.items()})
    means = {name: "undefined" if np.isnan(one.similarity) else f"{one.similarity:.2f}" for name, one in found.items()}
    titles = {name: f"mean |Q| {mean}" for name, mean in means.items()}
    figure = _side_by_side({name: np.abs(one.normalised) for name, one in found.items()}, concepts, titles, "|Q|")
    rows = [
        {
            "network": name, "concept": concepts[i], "other": concepts[j], "cosine": float(one.cosines[i, j]),
            "normalised": float(value), "similarity": one.similarity,
        }
        for name, one in found.items()
        for (i, j), value in np.ndenumerate(one.normalised)
    ]  # fmt: skip
    return figure, rows


@figure_function
def correlation_maps(found: Mapping[str, NDArray[np.float64]], concepts: Sequence[str]) -> Drawn:
    """Absolute correlations between axes: a heat map of each network, side by side.

    Args:
        found: name of the network -> (axes, axes).
        concepts: names of the first axes; where there are more axes than concepts, lines set these apart.
    """
    titles = {}
    for name, one in found.items():
        off = one[~np.eye(len(one), dtype=bool)]
        titles[name] = f"mean {np.nanmean(off):.2f}" if np.isfinite(off).any() else ""
    figure = _side_by_side(found, concepts, titles, "|r|")
    rows = [
        {"network": name, "axis": i, "other": j, "correlation": float(value)}
        for name, one in found.items()
        for (i, j), value in np.ndenumerate(one)
        if i < j
    ]
    return figure, rows


@figure_function
def importance_by_class(
    found: Sequence[Importance], concepts: Sequence[str], classes: Sequence[Sequence[str]] | None = None
) -> Drawn:
    """Importance of concepts for all images and for each class, mean over networks; colours are logarithmic about 1.

    Args:
        found: of each network, of the same axes.
        concepts: names of the axes.
        classes: names of the classes of each network, which may differ; else the labels.

    Raises:
        UserError: another number of names than of concepts or classes.
    """
    named = [list(map(str, one.classes)) for one in found] if classes is None else [list(of) for of in classes]
    fits(concepts, {"the axes": len(found[0].axes)})
    for one, of in zip(found, named, strict=True):
        fits(of, {"the classes": len(one.classes)})
    known = list(dict.fromkeys(name for of in named for name in of))
    # Of all images, then of each class by the networks that know it.
    each = [np.stack([one.ratio for one in found])] + [
        np.stack([one.by_class[of.index(name)] for one, of in zip(found, named, strict=True) if name in of])
        for name in known
    ]
    names = ["all", *known]
    values = np.stack([one.mean(axis=0) for one in each])
    finite = values[np.isfinite(values) & (values > 0)]
    most = max(1.25, *np.exp(np.abs(np.log(finite)))) if len(finite) else 2.0
    wide = now().single if 0.33 * len(concepts) + 1.4 <= now().single else now().double
    figure = canvas(wide, min(0.17 * len(names) + 0.9, now().tall))
    axes = figure.subplots()
    size = min(5.5, 23 * (wide - 1.4) / len(concepts))
    image = _heat(axes, values, LogNorm(1 / most, most), "RdBu_r", size)
    axes.set_aspect("auto")
    _ticks(axes, concepts, names)
    # The first row is of all images.
    axes.axhline(0.5, color="white", linewidth=pt(2.5 if len(names) <= NAMED else 1))
    axes.set(xlabel="Concept axis permuted", ylabel="Class")
    bar = figure.colorbar(image, ax=axes, label="Loss permuted / loss", fraction=0.06)
    ticks = [ratio for ratio in RATIOS if 1 / most <= ratio <= most]
    bar.set_ticks(ticks, labels=[f"{ratio:g}" for ratio in ticks])
    bar.minorticks_off()
    rows = [
        {
            "class": names[i], "concept": concepts[j], "ratio": float(value), "networks": len(each[i]),
            "values": " ".join(f"{one:.6f}" for one in each[i][:, j]),
        }
        for (i, j), value in np.ndenumerate(values)
    ]  # fmt: skip
    return figure, rows


def _side_by_side(
    found: Mapping[str, NDArray[np.float64]], concepts: Sequence[str], titles: Mapping[str, str], label: str
) -> Figure:
    least = 0.9 + 0.27 * min(WRITTEN, max(map(len, found.values())))
    figure, panels = grid(len(found), 3, lambda width: min(width, 2.6) + 0.4, layout="compressed", least=least)
    columns = panels.shape[1]
    size = (size_of(figure)[0] - 1) / columns
    for number, (axes, (name, values)) in enumerate(zip(panels.flat, found.items(), strict=False)):
        _heat(axes, values, Normalize(0, 1), "viridis", min(6.0, 90 * size / 1.9 / len(values) / 2.6))
        if len(values) == len(concepts) <= NAMED:
            _ticks(axes, concepts, concepts if number % columns == 0 else None)
        else:
            for line in (axes.axhline, axes.axvline):
                line(len(concepts) - 0.5, color="white", linewidth=pt(0.8))
            axes.set_xlabel(f"Axis (the first {len(concepts)}: concepts)")
            for ticks in (axes.xaxis, axes.yaxis):
                ticks.set_major_locator(MaxNLocator(6, integer=True))
            axes.set_ylabel("Axis" if number % columns == 0 else "")
        axes.set_title(f"{wrapped(name, 26)}\n{titles[name]}")
        if len(found) > 1:
            letter(axes, number)
    extend = "max" if any(np.nanmax(one, initial=0) > 1 + 1e-9 for one in found.values()) else "neither"
    figure.colorbar(panels[0, 0].images[0], ax=panels, label=label, fraction=0.03, shrink=0.8, extend=extend)
    return figure


def _heat(axes: Axes, values: NDArray[np.float64], norm: Normalize, colours: str, size: float) -> AxesImage:
    """Cells in colours, with their numbers where there are few; what is undefined is grey."""
    table = colormaps[colours].with_extremes(bad="0.85")
    image = axes.imshow(values, norm=norm, cmap=table, interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if values.shape[1] <= WRITTEN and len(values) <= NAMED:
        for (row, column), value in np.ndenumerate(values):
            red, green, blue, _ = table(norm(value))
            # Black on light cells, white on dark ones.
            light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 or not np.isfinite(value)
            text = f"{value:.2f}" if value < 9.995 else f"{value:.3g}"
            axes.text(
                column, row, text if np.isfinite(value) else "–", ha="center", va="center", size=pt(size),
                color="black" if light else "white",
            )  # fmt: skip
    return image


def _ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str] | None) -> None:
    """Names of columns, turned where they would run into each other, and of rows."""
    flat = max(map(len, columns)) <= 5 or len(columns) <= 3
    turned = 0 if flat else 90
    axes.set_xticks(
        range(len(columns)), [wrapped(name, 9) if flat else shown(name) for name in columns], rotation=turned
    )
    step = 1 + len(rows or []) // NAMED
    axes.set_yticks(range(0, len(rows or []), step), map(shown, (rows or [])[::step]))
