"""Damage to files, generated: bits that flip, ends that are cut off, files that are empty, missing or another run's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

KINDS = ("flip", "cut", "empty", "missing", "other")


def damage(path: Path, kind: str, seed: int, other: Path | None = None) -> bool:
    """Damage a file in place, as a disk does: links to it are damaged with it.

    Args:
        path: of the file.
        kind: one of KINDS.
        seed: of the bit that flips, or the byte before which the file ends.
        other: whose content it gets, for the kind "other".

    Returns:
        Whether the content has changed.
    """
    before, draws = path.read_bytes(), random.Random(seed)
    if kind == "missing":
        path.unlink()
        return True
    after = bytearray(before)
    if kind == "flip":
        after[draws.randrange(len(after))] ^= 1 << draws.randrange(8)
    elif kind == "cut":
        del after[draws.randrange(len(after)) :]
    elif kind == "empty":
        after.clear()
    else:
        assert other is not None
        after[:] = other.read_bytes()
    path.write_bytes(after)
    return bytes(after) != before


def cases(flips: int, cuts: int = 1, start: int = 0) -> Iterator[tuple[str, int]]:
    """Kinds and seeds: some flips and cuts, and each other kind once."""
    yield from (("flip", seed) for seed in range(start, start + flips))
    yield from (("cut", seed) for seed in range(start, start + cuts))
    yield from ((kind, 0) for kind in KINDS[2:])
