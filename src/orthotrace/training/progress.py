"""How far a run is: everything that is written about it, and that a checkpoint carries."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orthotrace.methods import Outcome
from orthotrace.results.scores import Scores, summarise

# What is reported of each protected layer after each task.
GAUGE = ("rank", "captured", "exact", "leak", "memory_bytes")


@dataclass
class Progress:
    """The state of a sequence of tasks.

    Attributes:
        tasks: how many there are.
        task: tasks that have ended.
        epoch: epochs of the running task that have ended.
        step: steps of the optimizer.
        untrained: accuracy of the untrained network on each task.
        chance: of each task the share of its most frequent class: what one and the same answer gets right.
        test_images: of each task.
        validation: accuracy on the validation part of each task after the last one; none where a task has no such part.
        accuracy: a row for each task that has ended, of T test accuracies; None on a task whose own head is
            untrained.
        by_class: a row for each task that has ended: accuracy on each class, over the test images of all tasks so far.
        inside: accuracy on the tasks so far at steps inside tasks: task, step, accuracy.
        leak: for each task that has ended the largest leak of its layers, None where nothing is protected.
        capacity: layer -> features, and for each task rank, captured and exact share, leak and memory_bytes.
        activity: of a spiking network: layer -> what its neurons did, or cost, for each task; see activity.
        seconds: spent on each task.
        epochs: the rows of metrics.csv.
        range_test: of a learning-rate range test: rate, loss and score of each step.
        score: what is named accuracy above: "accuracy", or in a regression "r2", where chance is 0.
    """

    tasks: int
    task: int = 0
    epoch: int = 0
    step: int = 0
    untrained: list[float] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    test_images: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    accuracy: list[list[float | None]] = field(default_factory=list)
    by_class: list[list[float | None]] = field(default_factory=list)
    inside: list[dict[str, Any]] = field(default_factory=list)
    leak: list[float | None] = field(default_factory=list)
    capacity: dict[str, dict[str, Any]] = field(default_factory=dict)
    activity: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    range_test: list[dict[str, float]] = field(default_factory=list)
    score: str = "accuracy"

    def state(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def spend(self, seconds: float) -> None:
        """Count time for the running task."""
        while len(self.seconds) <= self.task:
            self.seconds.append(0.0)
        self.seconds[self.task] += seconds

    def epoch_ended(self, step: int, row: dict[str, float]) -> dict[str, Any]:
        """Count an epoch and keep its metrics; the row as it is written."""
        self.epoch += 1
        self.step = step
        full = {"task": self.task + 1, "epoch": self.epoch, "step": step, **row}
        self.epochs.append(full)
        return full

    def inside_rows(self) -> list[dict[str, Any]]:
        """What was measured inside tasks, a column for each task."""
        return [
            {"task": row["task"], "step": row["step"]}
            | {f"{self.score}_task{j}": value for j, value in enumerate(row["accuracy"], start=1)}
            for row in self.inside
        ]

    def task_ended(self, accuracy: list[float | None], by_class: list[float | None], outcome: Outcome) -> None:
        """Count a task and keep what was measured."""
        self.accuracy.append(accuracy)
        self.by_class.append(by_class)
        self.leak.append(max((layer.leak for layer in outcome.layers.values()), default=None))
        for name, layer in outcome.layers.items():
            entry = self.capacity.setdefault(
                name,
                {"features": layer.capacity.features, **{key: [] for key in GAUGE}},
            )
            values = (layer.capacity.rank, layer.captured, layer.exact, layer.leak, layer.memory_bytes)
            for key, value in zip(GAUGE, values, strict=True):
                entry[key].append(value)
        self.task += 1
        self.epoch = 0

    def fired(self, activity: dict[str, dict[str, float]]) -> None:
        """Keep what neurons did after a task."""
        for name, values in activity.items():
            for key, value in values.items():
                self.activity.setdefault(name, {}).setdefault(key, []).append(value)

    def after(self, number: int) -> "Progress":
        """As it was when so many tasks had ended."""
        capacity = {
            name: {key: value[:number] if key in GAUGE else value for key, value in entry.items()}
            for name, entry in self.capacity.items()
        }
        activity = {
            name: {key: value[:number] for key, value in entry.items()} for name, entry in self.activity.items()
        }
        rows = [row for row in self.epochs if row["task"] <= number]
        return replace(
            self, task=number, epoch=0, accuracy=self.accuracy[:number], by_class=self.by_class[:number],
            leak=self.leak[:number], capacity=capacity, activity=activity, epochs=rows,
        )  # fmt: skip

    @property
    def finished(self) -> bool:
        """Whether all tasks have ended."""
        return self.task == self.tasks

    def scores(self, shared_head: bool) -> Scores | None:
        """The summary, once all tasks have ended."""
        return summarise(self.accuracy, self.untrained, shared_head) if self.finished else None
