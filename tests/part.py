"""Cases of which make test runs a part that covers them, and make test-whole all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def part(cases: Iterable[Any], kept: Iterable[Any] | Callable[[Any], bool]) -> list[Any]:
    """All cases; those that are not kept are marked whole. What is kept must be there."""
    cases = list(cases)
    chosen = [case for case in cases if kept(case)] if callable(kept) else list(kept)
    assert chosen and all(case in cases for case in chosen), kept
    given = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*values, marks=[] if case in chosen else pytest.mark.whole)
        for case, values in zip(cases, given, strict=True)
    ]
