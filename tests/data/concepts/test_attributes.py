import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.concepts.attributes import ATTRIBUTES, brightness, edges, holes, slant, thickness


def bar(width: int, left: int = 6) -> torch.Tensor:
    image = torch.zeros(1, 21, 21)
    image[:, 3:18, left : left + width] = 1
    return image


def turned_bar(width: float, degrees: float) -> torch.Tensor:
    """A bar of 18 pixels at an angle, its edges in shades of grey."""
    fine = 8
    place = (torch.arange(28 * fine) + 0.5) / fine - 14
    angle = torch.tensor(degrees).deg2rad()
    along = place * angle.cos() + place[:, None] * angle.sin()
    across = place[:, None] * angle.cos() - place * angle.sin()
    image = ((along.abs() <= 9) & (across.abs() <= width / 2)).float()
    return image.unflatten(1, (28, fine)).unflatten(0, (28, fine)).mean((1, 3))[None]


def sheared(shear: float) -> torch.Tensor:
    """A line that goes so many columns to the right in each row upwards."""
    image = torch.zeros(1, 21, 21)
    for row in range(3, 18):
        image[0, row, round(10 + shear * (10 - row))] = 1
    return image


def loops(*rows: int) -> torch.Tensor:
    """Strokes that close in a hole of 3 x 3 pixels below each of these rows."""
    image = torch.zeros(1, 21, 21)
    for row in rows:
        image[:, row : row + 5, 5:10] = 1
        image[:, row + 1 : row + 4, 6:9] = 0
    return image


def speck() -> torch.Tensor:
    image = bar(5)
    image[0, 8, 8] = 0
    return image


STRIPES = (torch.arange(20) % 4 < 2).float().expand(1, 20, 20)
# What is measured, on what, the answer.
KNOWN = {
    **{f"a bar of {width}": (thickness, bar(width), width, 0.02) for width in range(1, 8)},
    **{f"a bar of {width} at the border": (thickness, bar(width, left=0), width, 0.02) for width in range(1, 8)},
    **{
        f"a bar of {width} at {angle} degrees": (
            thickness,
            turned_bar(width, angle),
            width,
            0.35 if angle == 45 else 0.11,
        )
        for width in (1.5, 2, 2.5, 3, 4, 5)
        for angle in (10, 20, 45, 60, 80)
    },
    "an upright line": (slant, sheared(0), 0, 1e-9),
    "a line to the right": (slant, sheared(1), 45, 1e-6),
    "a line to the left": (slant, sheared(-1), -45, 1e-6),
    "half as much": (slant, sheared(0.5), np.degrees(np.arctan(0.5)), 1.0),
    "no hole": (holes, bar(3), 0, 0),
    "one hole": (holes, loops(2), 1, 0),
    "two holes": (holes, loops(2, 12), 2, 0),
    "a hole of one pixel is none": (holes, speck(), 0, 0),
    "ink alone": (holes, torch.ones(1, 6, 6), 0, 0),
    "half of the pixels": (brightness, STRIPES, 0.5, 1e-9),
    "upright stripes": (edges, STRIPES, -1, 1e-9),
    "stripes across": (edges, STRIPES.mT, 1, 1e-9),
    "neither": (edges, STRIPES * STRIPES.mT, 0, 1e-9),
}


@pytest.mark.parametrize("case", KNOWN)
def test_known_answers(case):
    measure, image, expected, within = KNOWN[case]
    found = measure(image[None])
    assert found.shape == (1,) and found[0] == pytest.approx(expected, abs=within)


def test_degrees_of_grey():
    ramp = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 3, 4, 4)
    assert brightness(ramp) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_a_colour_exceeds_the_larger_of_the_other_two():
    pixels = torch.tensor([[255, 51, 0], [0, 204, 102], [51, 51, 255], [255, 255, 255]]) / 255
    pixels = pixels[:, :, None, None].expand(-1, -1, 4, 4)
    expected = {"red": [0.8, -0.8, -0.8, 0], "green": [-0.8, 0.4, -0.8, 0], "blue": [-1, -0.4, 0.8, 0]}
    for name, values in expected.items():
        assert ATTRIBUTES[name].measure(pixels) == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("name", ["red", "green", "blue"])
def test_a_colour_needs_three_channels(name):
    with pytest.raises(UserError, match=r"attributes: a colour needs images of three channels \(they have 1\)"):
        ATTRIBUTES[name].measure(torch.ones(2, 1, 4, 4))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_empty_images_have_finite_values(name):
    pixels = torch.zeros(3, 3, 8, 8)
    # All of them, and one beside others.
    assert np.isfinite(ATTRIBUTES[name].measure(pixels)).all()
    pixels[1, :, 2:5] = 1
    assert np.isfinite(ATTRIBUTES[name].measure(pixels)).all()


def test_opposites_are_the_two_ends_of_one_measure():
    for high, low in (("thick", "thin"), ("slanted right", "slanted left"), ("bright", "dark"), ("horizontal edges", "vertical edges")):  # fmt: skip
        assert ATTRIBUTES[high].measure is ATTRIBUTES[low].measure
        assert not ATTRIBUTES[high].lowest and ATTRIBUTES[low].lowest
