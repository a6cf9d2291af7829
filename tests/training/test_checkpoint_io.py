import io
import resource
import signal
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.strategies import SingleDeviceStrategy

from orthotrace.training.checkpoint_io import StreamedCheckpointIO
from orthotrace.training.trainer import make_trainer

CONTENT = {"weight": torch.randn(300, 300), "epoch": 3}
CPU = {"accelerator": "cpu", "devices": 1}


def test_the_file_is_what_torch_makes_in_memory_and_loads(tmp_path):
    StreamedCheckpointIO().save_checkpoint(CONTENT, tmp_path / "some.ckpt")
    torch.save(CONTENT, memory := io.BytesIO())
    assert (tmp_path / "some.ckpt").read_bytes() == memory.getvalue()
    loaded = StreamedCheckpointIO().load_checkpoint(tmp_path / "some.ckpt", weights_only=True)
    assert torch.equal(loaded["weight"], CONTENT["weight"]) and loaded["epoch"] == 3


@pytest.mark.parametrize(("writer", "whole"), [(StreamedCheckpointIO, False), (TorchCheckpointIO, True)])
def test_it_is_never_in_memory_as_a_whole(tmp_path, monkeypatch, writer, whole):
    sizes = []

    class Measured(io.BytesIO):
        def write(self, content):
            super().write(content)
            sizes.append(self.tell())

    monkeypatch.setattr(io, "BytesIO", Measured)
    writer().save_checkpoint(CONTENT, tmp_path / "some.ckpt")
    # The index alone.
    assert (max(sizes) > 4 * CONTENT["weight"].numel()) is whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("content", [CONTENT, {"epoch": 3}, {"weight": torch.zeros(10**6)}])
def test_a_full_disk_is_an_os_error(content):
    with pytest.raises(OSError, match="No space left"):
        StreamedCheckpointIO().save_checkpoint(content, "/dev/full")


@pytest.mark.parametrize("most", [1000, 8000, 200_000])
def test_so_is_a_file_that_becomes_too_large(tmp_path, most):
    """It fails within torch, which goes on to tell of what it misses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            StreamedCheckpointIO().save_checkpoint(CONTENT, tmp_path / "some.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class Own(TorchCheckpointIO):
    """A user's."""


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, StreamedCheckpointIO),
        ({"plugins": [Precision()]}, StreamedCheckpointIO),
        ({"plugins": [Own()]}, Own),
        ({"plugins": Own()}, Own),
        ({"strategy": SingleDeviceStrategy("cpu", checkpoint_io=Own())}, Own),
    ],
)
def test_the_trainer_takes_it_unless_the_user_has_one(tmp_path, given, kind):
    assert type(make_trainer({**CPU, **given}, [], tmp_path).strategy.checkpoint_io) is kind
