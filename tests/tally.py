"""Counts of what was tried, and of what came of it: for make chaos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

OUTCOMES = ("survived", "lost", "wrong", "tracebacks", "hangs")


@dataclass
class Tally:
    """One kind of try.

    Attributes:
        kind: what was done.
        survived: ended as promised: the same result, or one line that says what is the matter.
        lost: work or files that were there are gone.
        wrong: another result, exit code or line.
        tracebacks: exceptions that are no UserError.
        hangs: no end in time.
        notes: what went wrong, one line each.
    """

    kind: str
    survived: int = 0
    lost: int = 0
    wrong: int = 0
    tracebacks: int = 0
    hangs: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def tries(self) -> int:
        """All of them."""
        return sum(getattr(self, name) for name in OUTCOMES)

    @property
    def failed(self) -> bool:
        """Whether something was not survived, or nothing was tried."""
        return self.tries != self.survived or not self.tries

    def count(self, outcome: str, note: str = "") -> None:
        """Count one try."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome != "survived":
            self.notes.append(f"{self.kind}: {outcome}: {note}"[:2000])

    def reading(self, read: Callable[[], Any], right: Any, note: str, refusal: type[Exception]) -> None:
        """Count a try that must give the right value, or be refused in one line."""
        try:
            found = read()
        except refusal as error:
            self.count("wrong" if "\n" in str(error) else "survived", f"{note}: {error}")
        except Exception as error:
            self.count("tracebacks", f"{note}: {type(error).__name__}: {error}")
        else:
            self.count("survived" if found == right else "wrong", f"{note}: read as {str(found)[:200]}")

    def row(self) -> dict[str, Any]:
        """For the table."""
        return {"kind": self.kind, "tries": self.tries, **{k: v for k, v in asdict(self).items() if k != "kind"}}
