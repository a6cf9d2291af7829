import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.image import imread

from orthotrace.analysis.figures.style import DOUBLE, FORMATS, save, styled
from orthotrace.core.digests import verify


def draw(folder, formats=FORMATS):
    with styled():
        figure, axes = plt.subplots(figsize=(DOUBLE, 2))
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
