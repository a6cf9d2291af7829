"""Generated calls of every public function of analysis that takes arrays, against the oracles.

    python tests/array_calls.py 10000

makes so many calls and counts: right, refused by UserError, wrong, foreign exceptions. The last two must be 0. A second
number is the first seed.
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import array_oracles as oracle
import numpy as np
import torch
from array_cases import CASES
from array_draws import Arrays, Case, Draw

from orthotrace.analysis import rdm
from orthotrace.core.errors import UserError


def flat(found: Any) -> np.ndarray:
    """All numbers in a result, one after the other."""
    if found is None or isinstance(found, str):
        return np.zeros(0)
    if isinstance(found, rdm.RDMs):
        return found.dissimilarities.ravel()
    if dataclasses.is_dataclass(found):
        return flat([getattr(found, one.name) for one in dataclasses.fields(found)])
    if isinstance(found, Mapping):
        return flat(list(found.values()))
    if isinstance(found, (list, tuple)):
        return np.concatenate([flat(one) for one in found]) if found else np.zeros(0)
    if isinstance(found, torch.Tensor):
        found = found.detach().numpy()
    return np.atleast_1d(np.asarray(found)).ravel()


def differs(found: np.ndarray, right: np.ndarray, tolerance: float, undefined: bool, beside: Any = 0.0) -> str:
    """What is wrong with a result, or nothing."""
    if found.shape != right.shape:
        return f"{found.shape} numbers, not {right.shape}"
    found, right = oracle.wide(found), oracle.wide(right)
    nothing = np.isnan(found) & np.isnan(right) & undefined
    if not (np.isfinite(found) | nothing).all():
        return f"silent {found[~np.isfinite(found) & ~nothing][0]}"
    with np.errstate(all="ignore"):
        size = max(np.abs(np.where(nothing, 0, right)).max(initial=0), beside)
        apart = np.abs(np.where(nothing, 0, found - right))
        off = ~(apart <= tolerance * size)
    return f"{found[off][0]} for {right[off][0]}" if off.any() else ""


def beside(case: Case, given: Arrays) -> Any:
    """The size beside which rounding counts."""
    # Of what is there.
    largest = [oracle.L(np.abs(np.nan_to_num(one, nan=0.0)).max(initial=0)) for one in given.values()]
    sizes = {
        "one": 1.0,
        "result": 0.0,
        "largest": max(largest),
        "square": max(largest) ** 2,
        "form": largest[0] ** 2 * largest[-1],
        "product": np.prod(largest),
    }
    return sizes[case.beside]


def outcome(name: str, seed: int) -> tuple[str, str]:
    """Of one generated call: right, refused, wrong or foreign, and why."""
    case = CASES[name]
    given = case.make(Draw(seed))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            whole = case.call(**{key: one.copy() for key, one in given.items()})
    except UserError as error:
        return ("wrong", "several lines") if "\n" in str(error) else ("refused", str(error))
    except Exception as error:
        return "foreign", f"{type(error).__name__}: {error}"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = case.oracle(**given)
    found = flat(case.of(whole))
    if expected is None:
        # The numbers must agree with each other.
        why = differs(found[:1], found[1:], case.tolerance, case.undefined, beside=1e-3) if len(found) == 2 else ""
        return ("wrong", why) if why else ("right", "")
    right = flat(expected)
    why = differs(found, right, case.tolerance, case.undefined, beside(case, given))
    return ("wrong", why) if why else ("right", "")


def main() -> None:
    calls, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    names = list(CASES)
    for seed in range(first, first + calls):
        name = names[seed % len(names)]
        kind, why = outcome(name, seed)
        counts[kind] += 1
        refusals[name] += kind == "refused"
        if kind in ("wrong", "foreign"):
            print(kind, name, seed, why, flush=True)
    print("least answered:", refusals.most_common(5))
    print(
        f"{calls} calls of {len(names)} functions:",
        ", ".join(f"{counts[one]} {one}" for one in ("right", "refused", "wrong", "foreign")),
    )
    sys.exit(bool(counts["wrong"] or counts["foreign"]))


if __name__ == "__main__":
    main()
