"""The weights that a network is to start from: of a run, or of a file."""

import functools
import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from orthotrace.core.errors import UserError, short
from orthotrace.core.files import read
from orthotrace.results.run_folder import Run, read_checkpoint

HOW = "save the weights alone, by torch.save(model.state_dict(), FILE) or as safetensors"


def weights_of(place: Path | str) -> dict[str, Tensor]:
    """The weights and statistics of a network, by the names of its state_dict.

    Args:
        place: a run's folder, of which the newest checkpoint counts; a checkpoint of a run; a file that torch.save
            wrote of a state_dict, also inside {"state_dict": ...}; or .safetensors.

    Raises:
        UserError: there is no such run or file, it is damaged, it holds no weights, or it holds objects that only a
            pickle can give, which is never read.
    """
    path = Path(place)
    if path.is_dir():
        run = Run(path)
        if not run.exists:
            raise UserError(f"{short(str(path), 300)} is not a run's folder: it has no .hydra/config.yaml")
        if not run.generations:
            raise UserError(
                f"{short(str(path), 300)} has no checkpoints: the run did not finish an epoch, or they were removed"
            )
        return _of_network(read(run.generations[0], read_checkpoint), path)
    if not path.is_file():
        where = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
        raise UserError(f"there is no file or folder {short(str(path), 300)}{where}")
    return _of_network(read(path, _content), path)


def digest_of_weights(place: Path | str) -> str:
    """SHA-256 of weights: of their names, types, shapes and values, wherever they lie.

    Raises:
        UserError: as weights_of.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.pt"
        >>> torch.save({"weight": torch.zeros(2, 3)}, file)
        >>> digest_of_weights(file)[:8]
        '38ccb92d'
    """
    path = Path(place)
    newest = Run(path).generations[:1] if path.is_dir() else [path]
    marks = [path.resolve(), *(one.stat().st_mtime_ns for one in newest if one.is_file())]
    return _digest(path, *marks)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *marks: Any) -> str:
    """Once for each state of a file: the name of a run's folder is asked for several times."""
    found = hashlib.sha256()
    for name, value in sorted(weights_of(path).items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _content(path: Path) -> Any:
    """What a file holds, without running anything of it."""
    try:
        return _read(path)
    # A file of another kind can raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{path} holds no weights, or a pickle of more than weights, which could run code and is not read; {HOW}"
        ) from error


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with warnings.catch_warnings():
        # What torch thinks of another protocol is no matter of the user's.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _of_network(content: Any, path: Path) -> dict[str, Tensor]:
    """The network's part of what a file holds."""
    if isinstance(content, Mapping) and isinstance(own := content.get("orthotrace"), Mapping) and own.get("network"):
        # As it is tested after its last task.
        content = own["network"]
    elif isinstance(content, Mapping) and isinstance(inner := content.get("state_dict"), Mapping):
        # Of a LightningModule the network is a part.
        below = {key.removeprefix("model."): value for key, value in inner.items() if key.startswith("model.")}
        content = below or inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(one, Tensor) for one in content.values()):
        raise UserError(f"{path} holds no weights by name; {HOW}")
    found = {str(key): value.detach() for key, value in content.items()}
    # Of DataParallel and of torch.compile.
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in found):
            consume_prefix_in_state_dict_if_present(found, prefix)
    return found
