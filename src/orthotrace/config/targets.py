"""What the configuration of a run's folder may call: it may come from somebody else."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.build import plain
from orthotrace.config.conf import conf_folder
from orthotrace.config.renamed import current
from orthotrace.core.errors import UserError

# What is built again from the configuration of a run.
BUILT = ("model", "dataset", "stream", "concepts")
LAYER = re.compile(r"torch\.nn\.[A-Z]\w*")


def check_targets(config: DictConfig, trust: Sequence[str] = ()) -> None:
    """Refuse a configuration that would call what its reader has not named.

    Allowed are the callables of conf/, the layers of ``torch.nn``, and what ``trust`` names.

    Args:
        config: of a run.
        trust: names of callables, or of modules and packages that are trusted as a whole.

    Raises:
        UserError: anything else; names it.

    Example:
        >>> check_targets(DictConfig({"model": {"_target_": "torch.nn.Linear"}}))
        >>> check_targets(DictConfig({"dataset": {"_target_": "mine.read"}}), trust=["mine"])
        >>> check_targets(DictConfig({"model": {"_target_": "builtins.print"}}))
        Traceback (most recent call last):
        orthotrace.core.errors.UserError: model._target_: ...
    """
    # Resolved, since resolvers can make nodes; others may name variables that this machine does not have.
    nodes = {group: plain(OmegaConf.select(config, group)) for group in BUILT}
    for path, name in targets(nodes):
        named = any(name == one or name.startswith(f"{one}.") for one in trust)
        if not named and name not in shipped() and not LAYER.fullmatch(name):
            shown = name if len(name) < 100 else f"{name[:100]}..."
            raise UserError(
                f"this run would call '{shown}', which you have not named; if you know what it does, give "
                f'trust=["{shown}"]',
                path,
            )


def missing_modules(config: DictConfig) -> list[tuple[str, str]]:
    """What a configuration would call of modules that this Python does not find: where it stands, and the module.

    Example:
        >>> missing_modules(DictConfig({"model": {"_target_": "nowhere.Net"}, "dataset": {"_target_": "torch.zeros"}}))
        [('model._target_', 'nowhere')]
    """
    nodes = {group: plain(OmegaConf.select(config, group)) for group in BUILT}
    found = [(path, name.split(".")[0]) for path, name in targets(nodes)]
    return [(path, module) for path, module in found if module not in sys.modules and find_spec(module) is None]


def targets(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every ``_target_`` of nested mappings and lists: where it stands, and its name of now.

    Example:
        >>> list(targets({"a": [{"_target_": "orthotrace.schedules.Step"}]}))
        [('a.0._target_', 'orthotrace.training.schedules.Step')]
    """
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        below = f"{path}.{key}".lstrip(".")
        if key == "_target_":
            yield below, current(str(value))
        else:
            yield from targets(value, below)


@functools.cache
def shipped() -> frozenset[str]:
    """The callables that conf/ names."""
    texts = (file.read_text(encoding="utf-8") for file in conf_folder().rglob("*.yaml"))
    return frozenset(name for text in texts for name in re.findall(r"^\s*_target_:\s*([\w.]+)", text, re.MULTILINE))
