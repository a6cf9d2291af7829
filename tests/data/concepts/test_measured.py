from dataclasses import replace

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.concepts import measured
from orthotrace.data.concepts.base import PARTS
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources import Source, digits


def source(train: torch.Tensor, test: torch.Tensor, classes: tuple[str, ...] = ("a", "b")) -> Source:
    """Flat images of these shades, of both classes in turn."""

    def images(shades: torch.Tensor) -> Images:
        pixels = shades.to(torch.uint8)[:, None, None, None].repeat(1, 1, 4, 4)
        return Images(pixels, torch.arange(len(shades)) % len(classes), scaling=Scaling((0.0,), (255.0,)))

    return Source("flat", images(train), images(test), classes)


def shades(sets, part: str) -> torch.Tensor:
    return sets.part(part).images.images[:, 0, 0, 0].long()


RAMP = torch.arange(1, 101)


def test_the_threshold_is_that_of_the_training_part():
    sets = measured(source(RAMP, RAMP + 15), attributes=["bright", "dark"], share=0.2)
    train = shades(sets, "train").double()
    for part in PARTS:
        found = shades(sets, part)
        assert torch.equal(sets.part(part).has[:, 0], found >= train.quantile(0.8))
        assert torch.equal(sets.part(part).has[:, 1], found <= train.quantile(0.2))
    assert float(sets.train.has[:, 0].double().mean()) == pytest.approx(0.2, abs=0.02)
    # Of the test images, which are brighter, far more.
    assert float(sets.test.has[:, 0].double().mean()) > 0.3


def test_test_images_move_nothing():
    """Not by their number, nor by one that is brighter than all others."""
    plain = measured(source(RAMP, RAMP), attributes=["bright"])
    glaring = measured(source(RAMP, torch.cat([RAMP, torch.full((50,), 255)])), attributes=["bright"])
    assert torch.equal(plain.train.has, glaring.train.has)
    assert torch.equal(plain.validation.has, glaring.validation.has)
    assert torch.equal(plain.test.has, glaring.test.has[:100])


STROKES = ["thick", "thin", "slanted left", "slanted right", "one hole", "dark"]


@pytest.fixture(scope="module")
def strokes():
    return measured(digits(), attributes=STROKES, limit=600)


@pytest.mark.parametrize("change", [lambda x: x / 16, lambda x: x / 8 - 1, lambda x: (x - 5) / 4, lambda x: 5e4 * x])
def test_any_scale_of_pixels_has_the_same_concepts(strokes, change):
    whole = digits()
    parts = {part: getattr(whole, part) for part in ("train", "test")}
    scaled = {part: replace(of, store=change(of.store.float())) for part, of in parts.items()}
    found = measured(replace(whole, **scaled), attributes=STROKES, limit=600)
    for part in PARTS:
        assert torch.equal(found.part(part).has, strokes.part(part).has)


def test_parts_share_no_image_and_are_the_same_each_time():
    one, two = (measured(source(RAMP, RAMP + 100), classes="all", validation=0.3) for _ in range(2))
    assert [len(one.part(part)) for part in PARTS] == [70, 30, 100]
    assert sorted(torch.cat([shades(one, part) for part in PARTS]).tolist()) == list(range(1, 201))
    for part in PARTS:
        assert torch.equal(shades(one, part), shades(two, part)) and torch.equal(one.part(part).has, two.part(part).has)


def test_all_images_at_the_threshold_have_the_attribute():
    few = torch.tensor([10, 20, 30, 40]).repeat_interleave(25)
    sets = measured(source(few, few), attributes=["bright", "dark"], share=0.1)
    for part in PARTS:
        assert torch.equal(sets.part(part).has[:, 0], shades(sets, part) == 40)
        assert torch.equal(sets.part(part).has[:, 1], shades(sets, part) == 10)


def test_a_limit_is_of_the_first_images():
    sets = measured(source(RAMP, RAMP + 100), classes="all", limit=50)
    assert [len(sets.part(part)) for part in PARTS] == [40, 10, 50]
    assert int(torch.cat([shades(sets, "train"), shades(sets, "validation")]).max()) == 50
    assert torch.equal(shades(sets, "test"), RAMP[:50] + 100)
    assert len(measured(source(RAMP, RAMP), attributes=["bright"], limit=None).train) == 80


def test_classes_are_concepts():
    every = measured(digits(), classes="all")
    assert every.names == digits().classes and every.classes == frozenset(every.names)
    for part in PARTS:
        assert torch.equal(every.part(part).has.int().argmax(1), every.part(part).images.labels)
    # Numbers as YAML reads them; attributes come first.
    some = measured(digits(), attributes=["one hole"], classes=[7, 3])
    assert some.names == ("one hole", "7", "3") and some.classes == {"7", "3"}
    assert torch.equal(some.test.has[:, 1], some.test.images.labels == 7)


def test_strokes_of_the_digits_are_what_they_are_called():
    sets = measured(digits(), attributes=["thick", "thin", "two holes", "one hole"])
    labels = sets.train.images.labels
    ink = sets.train.images.images.float().mean((1, 2, 3))
    assert float(ink[sets.train.has[:, 0]].mean()) > 1.1 * float(ink[sets.train.has[:, 1]].mean())
    assert int(labels[sets.train.has[:, 2]].mode().values) == 8
    assert int(labels[sets.train.has[:, 3]].mode().values) in (0, 6, 9)


FLAT = source(RAMP, RAMP)
BAD = {
    "an unknown attribute": (FLAT, {"attributes": ["thik"]}, "attributes: there is no attribute 'thik'; did you mean 'thick'?"),
    "an unknown class": (FLAT, {"classes": ["c"]}, "classes: there is no class 'c'; there are: a, b"),
    "nothing": (FLAT, {}, "attributes: name attributes or classes"),
    "a share": (FLAT, {"attributes": ["bright"], "share": 1.0}, "share: input should be less than 1"),
    "a limit": (FLAT, {"attributes": ["bright"], "limit": 3}, "limit: input should be greater than or equal to 10"),
    "no hole to be seen": (FLAT, {"attributes": ["one hole"]}, "the concept 'one hole' has no images in the train part"),
    "none in the test": (source(RAMP, RAMP[:50]), {"attributes": ["bright"]}, "the concept 'bright' has no images in the test part"),
    "nothing else": (source(RAMP[:1].repeat(50), RAMP), {"attributes": ["bright"]}, "all images of the train part have 'bright'"),
    "a colour of grey": (FLAT, {"attributes": ["red"]}, "attributes: a colour needs images of three channels"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_concepts_that_cannot_be(case):
    of, options, line = BAD[case]
    with pytest.raises(UserError) as error:
        measured(of, **options)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
