import pytest
import torch
from scipy import ndimage

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.data.streams import Rotated
from orthotrace.data.streams.rotated import rotate

SOURCE = digits()
SHADES = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles_move_every_pixel_to_its_place(turns):
    assert torch.allclose(rotate(SHADES, 90.0 * turns), torch.rot90(SHADES, turns, (2, 3)), atol=1e-6)


@pytest.mark.parametrize("angle", [10.0, 33.0, -120.0])
@pytest.mark.parametrize("shape", [(9, 9), (8, 12), (11, 6)])
def test_other_angles_are_those_of_scipy(angle, shape):
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = ndimage.rotate(image[0, 0].numpy(), angle, reshape=False, order=1, mode="grid-constant")
    assert torch.allclose(rotate(image, angle)[0, 0].double(), torch.tensor(expected), atol=1e-5)


def test_tasks_are_rotations_of_the_first():
    stream = Rotated(SOURCE, tasks=2, angles=[0, 90])
    first, second = stream.task(0), stream.task(1)
    assert torch.equal(second.train.images, torch.rot90(first.train.images, 1, (2, 3)))
    assert torch.equal(stream.test(1).images, second.test.images) and second.test.store.dtype == torch.uint8
    assert torch.equal(first.test.images, SOURCE.test.images)


@pytest.mark.parametrize("options", [{"angles": [0, 1, 2]}, {"angles": [0, float("nan")]}, {"tasks": 0}])
def test_rotations_that_cannot_be(options):
    with pytest.raises(UserError):
        Rotated(SOURCE, **{"tasks": 2, **options})
