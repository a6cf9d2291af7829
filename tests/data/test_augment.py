import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.augment import Augmentation, windows


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = torch.randint(1, 256, (200, 3, 6, 5), generator=draws(), dtype=torch.uint8)


def test_nothing_is_the_identity():
    none = Augmentation()
    assert not none.changes and torch.equal(none.pixels(IMAGES, draws()), IMAGES)


def test_a_flip_mirrors_each_image_by_itself():
    flipped = Augmentation(flip=0.5).pixels(IMAGES, draws())
    mirrored = [torch.equal(one, old.flip(-1)) for one, old in zip(flipped, IMAGES, strict=True)]
    same = [torch.equal(one, old) for one, old in zip(flipped, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and 60 < sum(mirrored) < 140


@pytest.mark.parametrize(("mode", "padding"), [("constant", "constant"), ("reflect", "reflect")])
def test_windows_are_cut_from_the_bordered_image(mode, padding):
    """Against a loop over images, with the same places."""
    border = 2
    found = windows(IMAGES, border, draws(3), mode)
    places = torch.randint(2 * border + 1, (2, len(IMAGES)), generator=draws(3))
    for number, image in enumerate(IMAGES):
        wide = torch.nn.functional.pad(image.float(), (border,) * 4, mode=padding).to(image.dtype)
        top, left = places[:, number].tolist()
        assert torch.equal(found[number], wide[:, top : top + 6, left : left + 5])
    # Every place occurs.
    assert len(places.T.unique(dim=0)) == 25


def test_shifted_images_keep_their_type_and_fill_with_zero():
    shifted = Augmentation(shift=5).pixels(torch.full((50, 1, 5, 5), 9, dtype=torch.uint8), draws())
    assert shifted.dtype == torch.uint8 and set(shifted.unique().tolist()) == {0, 9}


def test_noise_has_its_deviation():
    noise = Augmentation(noise=0.3).inputs(torch.zeros(100, 1, 20, 20), draws())
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02) and abs(float(noise.mean())) < 0.01


@pytest.mark.parametrize("options", [{"flip": 1.5}, {"crop": -1}, {"shift": 0.5}, {"noise": -1}])
def test_changes_that_cannot_be(options):
    with pytest.raises(UserError, match=next(iter(options))):
        Augmentation(**options)
