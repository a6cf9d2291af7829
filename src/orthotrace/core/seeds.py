"""Seeds: one for each source of randomness."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch

from orthotrace.core.errors import checked


def derived(seed: int, *parts: int) -> int:
    """A seed for one use of a seed: independent of the seeds for other parts.

    Example:
        >>> derived(0, 1) == derived(0, 1), derived(0, 1) == derived(1, 0)
        (True, False)
    """
    # A hash: numpy's SeedSequence takes (0,), (0, 0) and (0, 0, 0) for the same.
    digest = hashlib.sha256(",".join(str(part) for part in (seed, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *parts: int) -> torch.Generator:
    """A generator on the CPU from a derived seed."""
    return torch.Generator().manual_seed(derived(seed, *parts))


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed what is drawn on a device without a generator of its own.

    torch.manual_seed notes a call for each kind of accelerator that has not been started, with the stack at that
    place: on a CPU that takes a hundred times as long as the seed itself.

    Args:
        seed: at least 0.
        device: on which is drawn, beside the CPU.

    Example:
        >>> seed_draws(0, torch.device("cpu"))
        >>> first = torch.rand(1)
        >>> seed_draws(0, torch.device("cpu"))
        >>> bool(torch.rand(1) == first)
        True
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


@checked
@dataclass(frozen=True)
class Seeds:
    """One seed for each source of randomness of a run; ``seed=N`` sets them all.

    Attributes:
        init: the weights of the network. A study of individual differences varies only this one.
        order: the order of the training images.
        stream: the tasks: validation parts, permutations, order of the classes, noise.
        method: the draws of a method: samples, initial rows, what a memory keeps.
        dropout: the draws of a step: dropout, DropConnect, noise, replayed images.
        augmentation: how the training images are augmented.

    Raises:
        UserError: a seed that is not an integer, or an unknown name.
    """

    init: int = 0
    order: int = 0
    stream: int = 0
    method: int = 0
    dropout: int = 0
    augmentation: int = 0

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Seeds from a user's input."""
        return cls(**given)

    def as_dict(self) -> dict[str, int]:
        """The seeds by name."""
        return asdict(self)
