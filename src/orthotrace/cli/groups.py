"""Jobs of a multirun that are trained together, as the command knows them before any of them starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# What a job came to: the objective of its run, where it has one.
Value = float | tuple[float, ...] | None
# Folder -> trains the group that the job belongs to, and says what each came to.
_TRAINED: dict[Path, Callable[[], dict[Path, Value]]] = {}
# What those came to that were trained with an earlier one.
_VALUES: dict[Path, Value] = {}


def join(folders: list[Path], train: Callable[[], dict[Path, Value]]) -> None:
    """Note that the jobs with these folders are trained together.

    Args:
        folders: of the jobs.
        train: trains them all, and says what each came to.
    """
    _TRAINED.update(dict.fromkeys((folder.absolute() for folder in folders), train))


def in_a_group(folder: Path) -> bool:
    """Whether a job is trained together with others."""
    return folder.absolute() in _TRAINED


def train_with_others(folder: Path) -> Value:
    """Train the group of a job, unless an earlier one of it has done so."""
    place = folder.absolute()
    if place not in _VALUES:
        _VALUES.update(_TRAINED[place]())
    return _VALUES.pop(place, None)


def forget_groups() -> None:
    """A multirun has ended, or begins."""
    _TRAINED.clear()
    _VALUES.clear()
