"""The learning-rate range test: the rate rises over a task, and the loss says between which bounds it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from orthotrace.core.errors import UserError, checked
from orthotrace.training.schedules import Constant

# Of the fall of the loss: less of it is not clear, neither as a fall nor as a rise.
CLEAR = 0.1
# The smoothed loss is of one in so many of the steps.
WINDOW = 20
# The test ends where the loss is so many times its lowest, and above where it began.
DIVERGED = 4.0


@checked
@dataclass(eq=False)
class RangeTest(Constant):
    """The learning rate rises from low to high over the steps of the one task, to find the bounds of Cyclical.

        low (high / low)^p                exponential
        low + (high - low) p              linear, p from 0 at the first step to 1 at the last

    These are rates, whatever the optimizer's is; layers with rates of their own keep their ratio to it. The test ends
    early where the loss is not finite, or, as a mean over the last twentieth of the steps, four times its lowest and
    above where it began. At its end the network is put back as it was before: what such rates make of it is no result.
    What methods keep of a task would be none either, so a stream of one task is tested.

    Args:
        low: the first rate, above 0.
        high: the last one, above low.
        shape: how it rises, "exponential" or "linear".

    Raises:
        UserError: a value out of its range.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3, where the rate rises
    linearly.

    Example:
        >>> test = RangeTest(low=0.01, high=1.0)
        >>> [round(test.rate(step, 3), 3) for step in range(3)]
        [0.01, 0.1, 1.0]
    """

    tests_rates: ClassVar[bool] = True
    low: Annotated[float, Field(gt=0)] = 1e-5
    high: Annotated[float, Field(gt=0)] = 1.0
    shape: Literal["exponential", "linear"] = "exponential"

    def __post_init__(self) -> None:
        if self.high <= self.low:
            raise UserError(f"the rate rises: it must be above low, {self.low:g} (got {self.high:g})", "high")

    def factor(self, epoch: float, epochs: int) -> float:
        """The rate over the last one."""
        done, start = epoch / epochs, self.low / self.high
        return start ** (1 - done) if self.shape == "exponential" else start + (1 - start) * done

    def rate(self, step: int, steps: int) -> float:
        """Of a step, from 0, of so many."""
        return self.high * self.factor(min(step, steps - 1), max(steps - 1, 1))

    def scheduler(self, optimizer: Optimizer, epochs: int, steps: int) -> LRScheduler:
        """For one task."""
        own = optimizer.defaults.get("lr")
        for group in optimizer.param_groups:
            group["lr"] = self.high * (group["lr"] / own if own else 1.0)
        total = epochs * steps
        return LambdaLR(optimizer, lambda step: self.rate(step, total) / self.high)


def smoothed(losses: Sequence[float]) -> list[float]:
    """Means over a twentieth of the steps about each, fewer at the ends: a loss that becomes ragged rises too.

    Example:
        >>> smoothed([1.0, 2.0, 6.0])
        [1.0, 2.0, 6.0]
        >>> smoothed([0.0] * 20 + [3.0] + [0.0] * 19)[18:23]
        [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    half = len(losses) // (2 * WINDOW)
    parts = [losses[max(0, place - half) : place + half + 1] for place in range(len(losses))]
    return [sum(part) / len(part) for part in parts]


def bounds(rates: Sequence[float], losses: Sequence[float]) -> tuple[float, float] | None:
    """Between which rates the loss falls, (lower, upper); None where it never falls.

    Of the smoothed loss, which falls from its first value to its lowest: lower is the rate from which on, to the
    lowest, a tenth of this fall is done, upper the largest rate, from the lowest on, before it has risen by a tenth of
    it again.

    Args:
        rates: of the steps, rising.
        losses: of the steps, finite.

    Example:
        >>> bounds([0.001, 0.01, 0.1, 1.0, 10.0], [2.0, 1.9, 1.0, 1.05, 8.0])
        (0.01, 1.0)
        >>> bounds([0.1, 1.0], [1.0, 2.0]) is None
        True
    """
    if not losses:
        return None
    curve = smoothed(losses)
    lowest = curve.index(min(curve))
    clear = CLEAR * (curve[0] - curve[lowest])
    # Below it once may be noise.
    lower = next((place + 1 for place in range(lowest, -1, -1) if curve[place] > curve[0] - clear), 0)
    risen = (place for place in range(lowest, len(curve)) if curve[place] > curve[lowest] + clear)
    upper = next(risen, len(curve)) - 1
    return (rates[lower], rates[upper]) if lower < upper and clear > 0 else None


def has_diverged(losses: Sequence[float], steps: int) -> bool:
    """Whether a test of so many steps ends after these losses, see RangeTest.

    Example:
        >>> has_diverged([2.0, 1.0, 1.5], 3), has_diverged([2.0, 1.0, 4.5], 3), has_diverged([2.0, float("nan")], 3)
        (False, True, True)
    """
    if not abs(losses[-1]) < float("inf"):
        return True
    width = max(1, steps // WINDOW)
    means = [sum(losses[place - width : place]) / width for place in range(width, len(losses) + 1)]
    return bool(means) and means[-1] > max(DIVERGED * min(means), means[0])


def proposal(rows: Sequence[Mapping[str, float]], test: RangeTest) -> dict[str, Any]:
    """What a range test found, for range_test.json and for a line.

    Args:
        rows: of each step its rate and its loss.
        test: that was made.

    Returns:
        lower and upper bound, the overrides by which Cyclical has them, and a remark; each None where there is none.
    """
    rates, losses = [row["rate"] for row in rows], [row["loss"] for row in rows]
    found = bounds(rates, losses)
    if found is None:
        remark = "the loss never fell clearly: take a lower scheduler.low"
        return {"lower": None, "upper": None, "overrides": None, "remark": remark}
    lower, upper = found
    at_end = upper == rates[-1] and upper > 0.999 * test.high
    return {
        "lower": lower,
        "upper": upper,
        "overrides": f"optimizer.lr={upper:.2g} scheduler=cyclical scheduler.floor={lower / upper:.2g}",
        "remark": "the loss had not risen at the last rate: take a higher scheduler.high" if at_end else None,
    }
