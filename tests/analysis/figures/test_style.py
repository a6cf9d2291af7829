import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.image import imread

from orthotrace.analysis.figures.style import COLOURS, FORMATS, MARKERS, look, now, save, styled
from orthotrace.core.digests import verify


def draw(folder, formats=FORMATS):
    with styled():
        figure, axes = plt.subplots(figsize=(now().page, 2))
        axes.plot([1, 2], [3, 4])
        axes.set_xlabel("some text")
        path = save(figure, folder, "x", [{"a": 1}], formats)
        plt.close(figure)
    return path


def test_every_format_with_text_as_text_and_the_same_bytes(tmp_path):
    png = draw(tmp_path / "one")
    draw(tmp_path / "two")
    for kind in ("pdf", "svg", "png", "csv"):
        assert (tmp_path / "one" / f"x.{kind}").read_bytes() == (tmp_path / "two" / f"x.{kind}").read_bytes()
    assert imread(png).shape[1] == pytest.approx(183 / 25.4 * 300, abs=2)
    assert "some text" in (tmp_path / "one" / "x.svg").read_text()
    # Type 42 is TrueType: editable text.
    assert b"/Type3" not in (tmp_path / "one" / "x.pdf").read_bytes()


@pytest.mark.parametrize("formats", [[], ["svg"], ["png", "pdf"]])
def test_files_of_other_formats_are_of_an_earlier_figure_and_go(tmp_path, formats):
    draw(tmp_path)
    draw(tmp_path, formats)
    assert {path.suffix[1:] for path in tmp_path.glob("x.*")} == {"png", "csv", *formats}
    assert verify(tmp_path / "x.png")


def test_the_style_ends_with_the_block():
    before = mpl.rcParams["font.size"]
    with styled():
        assert mpl.rcParams["font.size"] == 7
    assert mpl.rcParams["font.size"] == before


# How those see colours who lack one kind of cone (Machado, Oliveira & Fernandes 2009, severity 1), in linear RGB.
SEEN = {
    "all cones": np.eye(3),
    "no L cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no M cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no S cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colours, seen):
    """CIELAB of sRGB colours as somebody sees them, for the white of D65."""
    rgb = np.array([mpl.colors.to_rgb(one) for one in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    found = np.clip(linear @ np.transpose(seen), 0, 1) @ XYZ.T / [0.95047, 1, 1.08883]
    x, y, z = np.where(found > 0.008856, np.cbrt(found), 7.787 * found + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_twelve_colours_are_told_apart(seen):
    found = lab(COLOURS, seen)
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1)[np.triu_indices(12, 1)]
    # 2.3 is what is just noticed side by side.
    assert len(COLOURS) == 12 and apart.min() > 16
    # On white.
    assert np.linalg.norm(found - [100, 0, 0], axis=-1).min() > 25


def test_looks_are_told_apart_and_in_grey_by_their_markers():
    looks = [look(place) for place in range(96)]
    assert len({str(sorted(one.items(), key=str)) for one in looks}) == 96
    assert len(set(map(str, MARKERS))) == 12
    assert len({(str(one["marker"]), "markerfacecolor" in one) for one in looks[:24]}) == 24
