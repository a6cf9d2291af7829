"""Blocks of a network: what follows a layer and belongs to it, its normalisation, residual sum and nonlinearity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orthotrace.analysis.networks.forward import Operation
from orthotrace.analysis.networks.operations import Kind

# What may stand between the parts of a hand-written function of one tensor.
ELEMENTWISE = ("nonlinear", "affine", "norm", "reduce", "sum", "product")


@dataclass(frozen=True)
class LayerBlock:
    """What a layer is read after.

    Attributes:
        end: the step whose output is read.
        passed: the steps after the first, up to the end.
        nonlinear: whether a nonlinearity is among them, the first included.
    """

    end: int
    passed: tuple[int, ...]
    nonlinear: bool


class Blocks:
    """The blocks of a pass that was followed.

    A block goes on from a step to what alone takes its output: normalisation, a residual sum, and a nonlinearity, which
    ends it unless a residual sum takes the result. Pooling stays apart, except where it stands before the nonlinearity.
    What is taken elsewhere too, such as the input of a residual branch, is the end of its block. A function of one
    tensor that is written by hand, such as x * sigmoid(x), counts as one operation.

    Args:
        steps: of the pass.
        outputs: the steps that the network gives.
    """

    def __init__(self, steps: Sequence[Operation], outputs: Sequence[int]) -> None:
        self.steps = steps
        self.outputs = set(outputs)
        self.takers: list[list[int]] = [[] for _ in steps]
        for number, step in enumerate(steps):
            for one in step.inputs:
                self.takers[one].append(number)
        self.depths = [0] * len(steps)
        for number, step in enumerate(steps):
            self.depths[number] = max((self.depths[one] for one in step.inputs), default=0) + (step.kind == "weighted")

    def block(self, start: int) -> LayerBlock:
        """The block that a step belongs to, from it on."""
        active = ended = self.steps[start].kind == "nonlinear"
        at, passed = start, []
        kept = (start, 0)
        while (found := self._next(at)) is not None:
            at, through, kind = found
            # After the nonlinearity only a residual sum belongs to the block; what follows the sum does again.
            if ended and kind != "sum":
                break
            passed += through
            ended = kind == "nonlinear"
            active = active or ended
            # Pooling counts if the nonlinearity comes after it.
            if kind != "pool" and (ended or not any(self.steps[one].kind == "pool" for one in passed[kept[1] :])):
                kept = (at, len(passed))
        return LayerBlock(kept[0], tuple(passed[: kept[1]]), active)

    def _next(self, at: int) -> tuple[int, list[int], Kind] | None:
        """The one step that takes all of this one's output, what lies between, and what it is together; or None."""
        takers = self.takers[at]
        if at in self.outputs or not takers:
            return None
        step = self.steps[takers[0]]
        if len(takers) == 1 and step.kind in ("norm", "nonlinear", "affine", "pool", "sum"):
            return takers[0], [takers[0]], step.kind
        return self._function(at)

    def _function(self, at: int) -> tuple[int, list[int], Kind] | None:
        """A function of one tensor by several operations, whose result has its shape."""
        if any(self.steps[one].kind not in ELEMENTWISE for one in self.takers[at]):
            return None
        inside = {at}
        for number in range(at + 1, len(self.steps)):
            step = self.steps[number]
            if step.kind not in ELEMENTWISE or not step.inputs or not inside.issuperset(step.inputs):
                continue
            inside.add(number)
            apart = {one for one in inside if one in self.outputs or not inside.issuperset(self.takers[one])}
            whole = all(self.takers[one] for one in inside - {number})
            # The mean over the steps of a spiking network is none.
            alike = (step.shape, step.timed) == (self.steps[at].shape, self.steps[at].timed)
            if apart <= {number} and whole and alike:
                through = sorted(inside - {at})
                norm = any(self.steps[one].kind in ("norm", "reduce") for one in through)
                return number, through, "norm" if norm else "nonlinear"
        return None
