"""Sums and rows over the processes of a distributed run; with a single process, what went in."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def processes() -> tuple[int, int]:
    """Number of this process, and how many there are.

    Example:
        >>> processes()
        (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_processes(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over all processes.

    Args:
        tensors: of the same shapes in all processes.

    Example:
        >>> sum_over_processes(total := torch.tensor([1.0, 2.0]))
        >>> total
        tensor([1., 2.])
    """
    if processes()[1] > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def rows_of_processes(rows: Tensor) -> Tensor:
    """The rows of all processes, in their order.

    Args:
        rows: (n, features); n may differ between processes.

    Example:
        >>> rows_of_processes(torch.eye(2)).shape
        torch.Size([2, 2])
    """
    if processes()[1] == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(processes()[1])]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    most = max(int(count) for count in counts)
    padded = torch.cat([rows, rows.new_zeros(most - len(rows), rows.shape[1])])
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


def same_in_all_processes(*tensors: Tensor) -> None:
    """Replace each tensor by that of the first process.

    Args:
        tensors: of the same shapes in all processes.

    Example:
        >>> same_in_all_processes(kept := torch.tensor([1.0]))
        >>> kept
        tensor([1.])
    """
    if processes()[1] > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def shard(places: Tensor) -> Tensor:
    """The part of this process: every so-manieth, so that parts differ by one at most.

    Example:
        >>> shard(torch.arange(3))
        tensor([0, 1, 2])
    """
    rank, count = processes()
    return places[rank::count]


def of_process() -> tuple[int, ...]:
    """What tells the draws of this process from those of the first; empty in the first.

    Example:
        >>> of_process()
        ()
    """
    rank = processes()[0]
    return (rank,) if rank else ()


def added(values: Tensor) -> Tensor:
    """The sum over all processes, with its gradient.

    Args:
        values: of the same shape in all processes.

    Example:
        >>> added(torch.tensor([1.0]))
        tensor([1.])
    """
    return _Added.apply(values) if processes()[1] > 1 else values


class _Added(Function):
    """A sum over processes; what each process' result depends on, every process' gradient adds to."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing of the sum is needed for its backward."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        return _Added.apply(grad_outputs[0])
