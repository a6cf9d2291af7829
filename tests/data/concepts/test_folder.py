import numpy as np
import pytest
import torch
from images import encoded
from PIL import Image

from orthotrace.core.errors import UserError
from orthotrace.data.concepts import folder
from orthotrace.data.concepts.base import PARTS
from orthotrace.data.images import Images, Scaling
from orthotrace.data.sources import Source
from orthotrace.training.concept_alignment import masks_of

# Flat images of one shade are the same.
pytestmark = pytest.mark.filterwarnings("ignore:images are in two parts")


def source(shape=(1, 6, 6), highest: float = 255, dtype: torch.dtype = torch.uint8) -> Source:
    pixels = torch.zeros(4, *shape)
    pixels[0] = highest
    part = Images(pixels.to(dtype), torch.zeros(4, dtype=torch.int64), scaling=Scaling((1.0,), (2.0,)))
    return Source("data", part, part, ("only",))


def fill(top, *names: str, count: int = 10, side: int = 6, start: int = 0):
    """Flat images, each concept of a shade of its own."""
    for number, name in enumerate(names, start=1 + start):
        (top / name).mkdir(parents=True)
        for image in range(count):
            (top / name / f"{image}.png").write_bytes(encoded(np.full((side, side), 10 * number + image, np.uint8)))
    return str(top)


def shades(part) -> list[int]:
    return part.images.images[:, 0, 0, 0].tolist()


def test_a_folder_for_each_concept(tmp_path):
    path = fill(tmp_path, "dotted", "striped")
    sets = folder(source(), path, validation=0.2, test=0.3)
    assert sets.names == ("dotted", "striped") and not sets.classes
    assert [sets.part(part).has.sum(0).tolist() for part in PARTS] == [[5, 5], [2, 2], [3, 3]]
    assert sorted(shade for part in PARTS for shade in shades(sets.part(part))) == list(range(10, 30))
    for part in PARTS:
        of = sets.part(part)
        assert [shade // 10 - 1 for shade in shades(of)] == of.has.int().argmax(1).tolist()
        assert of.masks is None and of.images.scaling == Scaling((1.0,), (2.0,))
        assert shades(of) == shades(folder(source(), path, validation=0.2, test=0.3).part(part))


def test_images_of_what_lies_inside_a_concept_are_its_own_too(tmp_path):
    path = fill(tmp_path, "animal", "animal/dog", "animal/bird/hawk", "car", count=4)
    sets = folder(source(), path)
    assert sets.names == ("animal", "animal/bird", "animal/bird/hawk", "animal/dog", "car")
    by_shade = {10: [1, 0, 0, 0, 0], 20: [1, 0, 0, 1, 0], 30: [1, 1, 1, 0, 0], 40: [0, 0, 0, 0, 1]}
    for part in PARTS:
        of = sets.part(part)
        assert {shade // 10 * 10 for shade in shades(of)} == {10, 20, 30, 40}
        for shade, row in zip(shades(of), of.has.int().tolist(), strict=True):
            assert row == by_shade[shade // 10 * 10]


def test_negatives_show_no_concept(tmp_path):
    path = fill(tmp_path, "striped", "negatives", "negatives/plain", count=4)
    sets = folder(source(), path)
    assert sets.names == ("striped",)
    for part in PARTS:
        assert sets.part(part).has[:, 0].tolist() == [shade < 20 for shade in shades(sets.part(part))]
    # Beside a folder of that name they are a concept.
    fill(tmp_path, "rest", start=4)
    assert "negatives" in folder(source(), path, negatives="rest").names


def test_given_parts_are_kept(tmp_path):
    for start, part in enumerate(PARTS):
        fill(tmp_path / part, "dotted", "striped", count=start + 1, start=2 * start)
    sets = folder(source(), str(tmp_path))
    assert [sorted(shades(sets.part(part))) for part in PARTS] == [[10, 20], [30, 31, 40, 41], [50, 51, 52, 60, 61, 62]]


@pytest.mark.parametrize(("image", "mask"), [("png", "png"), ("jpg", "png"), ("jpg", "jpg")])
def test_a_mask_tells_where(tmp_path, image, mask):
    path = fill(tmp_path, "dotted", "striped", count=4)
    inside = np.zeros((12, 12), np.uint8)
    inside[:, 6:] = 255
    for number in range(4):
        (tmp_path / "striped" / f"{number}.png").unlink()
        (tmp_path / "striped" / f"{number}.{image}").write_bytes(encoded(np.full((6, 6), 200, np.uint8)))
        (tmp_path / "striped" / f"{number}.mask.{mask}").write_bytes(encoded(inside))
    sets = folder(source(), path)
    for part in PARTS:
        of = sets.part(part)
        assert of.masks is not None and of.masks.shape == (len(of), 6, 6)
        striped = int(of.has[:, 1].int().argmax())
        assert float(of.masks[of.has[:, 0]].min()) == 1
        assert float(of.masks[striped, :, :2].max()) == 0 and float(of.masks[striped, :, 4:].min()) == 1
        # In the size of a layer's maps.
        found = masks_of(of, {"striped": torch.tensor([striped])}, torch.zeros(2, 5, 3, 3), channel_dim=1)
        assert found["striped"][0, 0].tolist() == pytest.approx([0, 0.5, 1], abs=0.2)
        assert not masks_of(of, {"striped": torch.tensor([striped])}, torch.zeros(2, 5), channel_dim=1)


def test_images_in_two_parts_are_told(tmp_path):
    for start, part in enumerate(PARTS):
        fill(tmp_path / part, "dotted", "striped", start=2 * start)
    (tmp_path / "test" / "dotted" / "again.png").write_bytes((tmp_path / "train" / "dotted" / "3.png").read_bytes())
    with pytest.warns(UserWarning, match=r"not held out: .*test/dotted/again.png \(test\) is .*train/dotted/3.png"):
        folder(source(), str(tmp_path))


def test_masks_of_any_suffix_and_links_to_folders(tmp_path):
    fill(tmp_path / "there", "dotted")
    fill(tmp_path / "top", "striped", "negatives", start=3)
    (tmp_path / "top" / "dotted").symlink_to(tmp_path / "there" / "dotted")
    (tmp_path / "top" / "dotted" / "round").symlink_to(tmp_path / "top")
    inside, nothing = encoded(np.eye(6, dtype=np.uint8) * 255), encoded(np.zeros((6, 6), np.uint8))
    for number in range(10):
        (tmp_path / "top" / "striped" / f"{number}.mask.PNG").write_bytes(inside)
        (tmp_path / "top" / "negatives" / f"{number}.mask.png").write_bytes(nothing)
    sets = folder(source(), str(tmp_path / "top"))
    assert sets.names == ("dotted", "striped")
    part = sets.train
    assert part.masks is not None
    assert float(part.masks[part.has[:, 0]].min()) == 1
    assert float(part.masks[part.has[:, 1]].sum((1, 2)).max()) == 6
    assert float(part.masks[~part.has.any(1)].max()) == 0
    # Other masks are other concepts.
    (tmp_path / "top" / "striped" / "0.mask.PNG").write_bytes(encoded(np.ones((6, 6), np.uint8)))
    assert folder(source(), str(tmp_path / "top")).digest() != sets.digest()


def test_a_digest_tells_other_images(tmp_path):
    path = fill(tmp_path, "dotted", "striped")
    first = folder(source(), path).digest()
    assert folder(source(), path).digest() == first
    (tmp_path / "dotted" / "9.png").rename(tmp_path / "striped" / "10.png")
    assert folder(source(), path).digest() != first


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 6, 6), (1, 9, 4)])
def test_images_get_size_and_channels_of_the_data_set(tmp_path, shape):
    for name in ("dotted", "striped"):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = np.zeros((20, 16, 3), np.uint8)
            pixels[..., 0], pixels[:10] = 255, 255
            (tmp_path / name / f"{number}.png").write_bytes(encoded(pixels))
    found = folder(source(shape), str(tmp_path)).train.images.images
    assert found.shape[1:] == shape and found.dtype == torch.uint8
    # White above, red below.
    assert int(found[:, :, 0].min()) == 255
    below = found[0, :, -1, 0].tolist()
    assert below == ([76] if shape[0] == 1 else [255, 0, 0])


@pytest.mark.parametrize(
    ("highest", "dtype", "expected"),
    [(255, torch.uint8, 250), (200, torch.uint8, 250), (16, torch.uint8, 16), (1.0, torch.float32, 250 / 255)],
)
def test_pixels_have_the_scale_of_the_data_set(tmp_path, highest, dtype, expected):
    for name in ("dotted", "striped"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(encoded(np.full((6, 6), 250, np.uint8)))
    found = folder(source(highest=highest, dtype=dtype), str(tmp_path)).train.images.images
    assert found.dtype == dtype and float(found.min()) == float(found.max()) == pytest.approx(expected)


def test_white_and_black_of_normalised_images_are_those_of_each_channel(tmp_path):
    for name, value in (("black", 0), ("white", 255)):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(encoded(np.full((6, 6), value, np.uint8)))
    given = source(shape=(3, 6, 6), highest=1.0, dtype=torch.float32)
    given.train.store.mul_(torch.tensor([2.0, 4, 6])[:, None, None]).sub_(torch.tensor([1.0, 2, 0])[:, None, None])
    part = folder(given, str(tmp_path)).train
    black, white = (part.images.images[part.has[:, number]][0, :, 0, 0].tolist() for number in (0, 1))
    assert (black, white) == ([-1, -2, 0], [1, 2, 6])


def test_images_of_16_bits_keep_their_shades(tmp_path):
    for name, value in (("dark", 10000), ("light", 50000)):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(np.full((6, 6), value, np.uint16)).save(tmp_path / name / f"{number}.png")
    part = folder(source(), str(tmp_path)).train
    assert part.images.images[:, 0, 0, 0].tolist() == [39, 195]


def corrupt(top):
    fill(top, "dotted", "striped")
    (top / "striped" / "9.png").write_text("no image")


BAD = {
    "no folder": (lambda top: top.rmdir(), {}, "path: there is no folder "),
    "empty": (lambda top: None, {}, " has no folders of images: one for each concept is needed"),
    "images without folders": (lambda top: (top / "a.png").write_bytes(encoded(np.zeros((6, 6), np.uint8))), {}, " has no folders of images"),
    "negatives alone": (lambda top: fill(top, "negatives"), {}, " has no folders of images"),
    "one image": (lambda top: (fill(top, "dotted"), fill(top, "striped", count=1)), {}, "path: the folder 'striped' has too few images (1): four are needed, two of them for the test"),
    "a broken link": (lambda top: (fill(top, "dotted", "striped"), (top / "dotted" / "z.png").symlink_to("nowhere.png")), {}, "dotted/z.png cannot be read as an image"),
    "an empty folder": (lambda top: (fill(top, "dotted", "striped"), (top / "hollow" / "inside").mkdir(parents=True)), {}, "hollow has no images (.bmp, "),
    "a black mask": (lambda top: (fill(top, "dotted", "striped"), (top / "dotted" / "1.mask.png").write_bytes(encoded(np.zeros((6, 6), np.uint8)))), {}, "dotted/1.mask.png is black all over"),
    "a mask alone": (lambda top: (fill(top, "dotted", "striped"), (top / "dotted" / "99.mask.png").write_bytes(encoded(np.ones((6, 6), np.uint8)))), {}, "dotted/99.mask.png belongs to no image"),
    "misspelt negatives": (lambda top: fill(top, "dotted", "negatives"), {"negatives": "negative"}, "negatives: "),
    "a part is missing": (lambda top: (fill(top / "train", "a", "b"), fill(top / "test", "a", "b")), {}, " has no folder validation: give train, validation, test, or none"),
    "a concept is missing": (lambda top: [fill(top / part, *("abc" if part != "test" else "ac")) for part in PARTS], {}, "the concept 'b' has no images in the test part"),
    "no others": (lambda top: fill(top, "striped"), {}, "all images of the train part have 'striped'"),
    "a corrupt image": (corrupt, {}, "striped/9.png cannot be read as an image"),
    "nothing left": (lambda top: fill(top, "a", "b"), {"validation": 0.5, "test": 0.5}, "validation: 0.5 for validation and 0.5 for the test leave nothing"),
    "a share": (lambda top: fill(top, "a", "b"), {"test": 0}, "test: input should be greater than 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_folders_that_cannot_be(tmp_path, case):
    make, options, line = BAD[case]
    top = tmp_path / "top"
    top.mkdir()
    make(top)
    with pytest.raises(UserError) as error:
        folder(source(), str(top), **options)
    assert line in str(error.value) and "\n" not in str(error.value)
