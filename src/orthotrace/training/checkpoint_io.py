"""How a checkpoint is written to its file."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO


class StreamedCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint straight to its file.

    Lightning's own makes the file in memory first, which takes as much as the weights and the optimizer's state
    together, and twice the time.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: what torch.save accepts.
            path: of the file, in a folder that is there.
            storage_options: none are known.

        Raises:
            OSError: the file cannot be written.
        """
        # Not by its path: the name of the file would be in the file.
        with Path(path).open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # Where a write fails torch then misses what it should have written, and tells of that.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                raise
