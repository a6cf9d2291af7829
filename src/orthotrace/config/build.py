"""From a Hydra configuration to objects."""

from pathlib import Path
from types import NoneType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.renamed import in_current_names
from orthotrace.core.errors import UserError, import_fault, one_line
from orthotrace.core.files import write_text


def build(config: DictConfig, path: str, **arguments: Any) -> Any:
    """Instantiate the node at a path by its ``_target_``.

    Raises:
        UserError: the node's values do not fit; names the path of the value.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(in_current_names(OmegaConf.select(config, path)), **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause.below(path) from error
        if isinstance(cause, ImportError):
            raise UserError(import_fault(cause), path) from error
        # Sizes that no memory holds come as the last three.
        if isinstance(cause, (TypeError, ValueError, RuntimeError, MemoryError, OverflowError, NoneType)):
            raise UserError(f"{_called(config, path)}{one_line(cause or error)}", path) from error
        raise


def _called(config: DictConfig, path: str) -> str:
    """What raised an error, where it is the user's own: the messages of libraries speak for themselves."""
    name = str(OmegaConf.select(config, f"{path}._target_", default=""))
    libraries = ("", "orthotrace", "torch", "pytorch_lightning")
    return "" if name.partition(".")[0] in libraries else f"{name} raised an error: "


def build_a(kind: type, config: DictConfig, path: str, **arguments: Any) -> Any:
    """The same, where it makes something of a kind, or what has all that this kind has.

    Raises:
        UserError: as build; or it makes something else.

    Example:
        >>> build_a(list, OmegaConf.create({"method": {"_target_": "builtins.dict"}}), "method")
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: method._target_: makes a dict, and no builtins.list
    """
    found = build(config, path, **arguments)
    lacks = any(not hasattr(found, name) for name in dir(kind) if not name.startswith("_"))
    # torch asks for the class.
    if not isinstance(found, kind) and (lacks or kind.__module__.startswith("torch.")):
        raise UserError(f"makes a {type(found).__name__}, and no {kind.__module__}.{kind.__name__}", f"{path}._target_")
    return found


def plain(node: Any) -> Any:
    """A node of a configuration, resolved, as dictionaries and lists; a plain value as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def write_hydra(folder: Path, config: DictConfig, hydra: DictConfig) -> None:
    """Write the folder .hydra as Hydra does.

    Hydra itself would write it before anyone could compare it with the one that is there.
    """
    write_text(folder / "hydra.yaml", OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})))
    write_text(folder / "overrides.yaml", OmegaConf.to_yaml(hydra.overrides.task))
    # Last: a run's folder is one that has it.
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config))
