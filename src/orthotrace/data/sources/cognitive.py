"""Cognitive tasks: trials in which a network fixates, sees a direction, and answers with one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import generator
from orthotrace.data.images import Images
from orthotrace.data.sources.base import Limit, Source

Name = Literal["go", "anti", "delayed_go", "delayed_anti"]
NAMES: tuple[Name, ...] = ("go", "anti", "delayed_go", "delayed_anti")
OUTPUTS = ("fixation", "cos", "sin")
# In ms. No error counts in the first so many, nor for so long after the fixation ends; then the answer is due.
GRACE, RESPONSE = 100.0, 500.0
# The square of a mask of 5.
ANSWER = 25.0
LONGEST = {"go": 700 + 1500, "delayed_go": 700 + 600 + 1600}


@checked
def cognitive(
    tasks: list[Name] | None = None,
    trials: Annotated[int, Field(ge=1)] = 10000,
    test_trials: Annotated[int, Field(ge=1)] = 500,
    dt: Annotated[float, Field(gt=0, le=100)] = 20.0,
    noise: Annotated[float, Field(ge=0)] = 0.1,
    seed: int = 0,
    limit: Limit | None = None,
) -> Source:
    """Go, anti, delayed go and delayed anti: trials with a target at each step, for a split stream.

    A trial begins with fixation. A direction appears after 300 to 700 ms, in one of two modalities. In go and anti it
    stays, and fixation ends 500 to 1500 ms later; in the delayed tasks it is shown for 200, 400 or 600 ms, and fixation
    ends after a delay of 200, 400, 800 or 1600 ms. Then the network answers for 500 ms: with the direction, or in the
    anti tasks with the opposite one. Times and directions are drawn evenly.

    Inputs at a step are fixation (1 until it ends), (cos, sin) of the direction in each modality, a rule for each task
    (1 for its own), and Gaussian noise of deviation noise sqrt(2 / alpha) with alpha = dt / 100 ms. Targets are
    fixation, and (cos, sin) of the answer, 0 before it is due. The weight of a step is 1 while the network fixates, 25
    while it answers, 0 in the first 100 ms, in the 100 ms after fixation has ended, and after the trial.

    Args:
        tasks: which, each once; None for all four.
        trials: of each task, for training.
        test_trials: of each task.
        dt: of a step, in ms.
        noise: of the inputs.
        seed: of the trials; those of the test are the same for every number of trials.
        limit: trials of each task in each part at most; None for all.

    Raises:
        UserError: a value out of its range, or a task that is named twice.

    Source: Yang et al., Nature Neuroscience 22, 2019; Duncker et al., NeurIPS 2020.

    Example:
        >>> source = cognitive(trials=20, test_trials=5)
        >>> source.tasks, source.shape, source.train.labels.shape
        (('go', 'anti', 'delayed_go', 'delayed_anti'), (170, 9), torch.Size([80, 4, 170]))
    """
    chosen = list(NAMES) if tasks is None else list(tasks)
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserError(f"names each task once, of {', '.join(NAMES)} (got {', '.join(chosen)})", "tasks")
    longest = max(LONGEST[_base(name)] for name in chosen)
    steps = math.ceil((longest + RESPONSE) / dt)

    def part(purpose: int, count: int) -> Images:
        count, made = min(count, limit or count), []
        for rule, name in enumerate(chosen):
            draws = generator(seed, purpose, NAMES.index(name))
            made.append(_trials(name, rule, len(chosen), count, steps, dt, noise, draws))
        inputs, labels = (torch.cat(of) for of in zip(*made, strict=True))
        return Images(inputs, labels, tasks=torch.arange(len(chosen)).repeat_interleave(count))

    return Source("cognitive", part(0, trials), part(1, test_trials), OUTPUTS, tasks=tuple(chosen))


def _base(name: Name) -> str:
    return "delayed_go" if name.startswith("delayed") else "go"


def _trials(
    name: Name, rule: int, rules: int, count: int, steps: int, dt: float, noise: float, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Inputs (count, steps, 5 + rules) and labels (count, 4, steps) of a task."""

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draws)

    def one_of(*values: float) -> Tensor:
        return torch.tensor(values)[torch.randint(len(values), (count,), generator=draws)]

    appears = between(300, 700)
    if _base(name) == "go":
        ends = appears + between(500, 1500)
        vanishes = ends + RESPONSE
    else:
        vanishes = appears + one_of(200, 400, 600)
        ends = vanishes + one_of(200, 400, 800, 1600)
    angle = between(0, 2 * math.pi)
    modality = torch.randint(2, (count,), generator=draws)
    times = torch.arange(steps) * dt

    def during(start: Tensor | float, stop: Tensor) -> Tensor:
        first = start[:, None] if isinstance(start, Tensor) else start
        return ((times >= first) & (times < stop[:, None])).float()

    fixates, answers = during(0.0, ends), during(ends, ends + RESPONSE)
    inputs = torch.zeros(count, steps, 5 + rules)
    inputs[..., 0] = fixates
    shown = during(appears, vanishes)
    for number in range(2):
        own = shown * (modality == number)[:, None]
        inputs[..., 1 + 2 * number] = own * angle.cos()[:, None]
        inputs[..., 2 + 2 * number] = own * angle.sin()[:, None]
    inputs[..., 5 + rule] = fixates + answers
    inputs += noise * math.sqrt(2 * 100 / dt) * torch.randn(inputs.shape, generator=draws)
    answer = angle + math.pi if name.endswith("anti") else angle
    weights = during(GRACE, ends) + ANSWER * during(ends + GRACE, ends + RESPONSE)
    targets = [fixates, answers * answer.cos()[:, None], answers * answer.sin()[:, None], weights]
    return inputs, torch.stack(targets, 1)
