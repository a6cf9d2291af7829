"""Collective operations of a distributed run; with a single process each leaves its values as they are."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process, from 0, and the number of processes.

    Example:
        >>> rank_and_world_size()
        (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def all_reduce_sum(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over all processes.

    Args:
        tensors: of the same shapes in all processes.

    Example:
        >>> all_reduce_sum(total := torch.tensor([1.0, 2.0]))
        >>> total
        tensor([1., 2.])
    """
    if rank_and_world_size()[1] > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def all_gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, in order of their ranks.

    Args:
        rows: (n, features); n may differ between processes.

    Example:
        >>> all_gather_rows(torch.eye(2)).shape
        torch.Size([2, 2])
    """
    if rank_and_world_size()[1] == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(rank_and_world_size()[1])]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    most = max(int(count) for count in counts)
    padded = torch.cat([rows, rows.new_zeros(most - len(rows), rows.shape[1])])
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


def broadcast_from_first(*tensors: Tensor) -> None:
    """Replace each tensor by that of the first process.

    Args:
        tensors: of the same shapes in all processes.

    Example:
        >>> broadcast_from_first(kept := torch.tensor([1.0]))
        >>> kept
        tensor([1.])
    """
    if rank_and_world_size()[1] > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def differing(values: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Of each process but the first, the values that are not, to the bit, those of the first.

    Only digests are exchanged where all are the same.

    Args:
        values: by the same names, of the same types in all processes; their shapes may differ.

    Example:
        >>> differing({"same": torch.tensor([1.0])})
        []
    """
    world = rank_and_world_size()[1]
    if world == 1 or not values:
        return []
    device = next(iter(values.values())).device
    own = torch.tensor([_digest(value) for value in values.values()], device=device)
    dist.all_gather(digests := [torch.empty_like(own) for _ in range(world)], own)
    found: list[dict[str, Tensor]] = []
    for rank in range(1, world):
        others = (digests[rank] != digests[0]).tolist()
        chosen = {name: value for (name, value), other in zip(values.items(), others, strict=True) if other}
        found.append({name: _broadcast_from(rank, value, device) for name, value in chosen.items()})
    return found


def _digest(value: Tensor) -> int:
    content = hashlib.blake2b(
        _bytes(value).cpu().numpy().tobytes(), digest_size=8, key=str(tuple(value.shape)).encode()[:64]
    )
    return int.from_bytes(content.digest(), "little", signed=True)


def _bytes(value: Tensor) -> Tensor:
    return value.detach().reshape(-1).view(torch.uint8)


def _broadcast_from(rank: int, value: Tensor, device: torch.device) -> Tensor:
    """The value of one process, whose shape the others do not know."""
    dist.broadcast(dimensions := torch.tensor([value.ndim], device=device), rank)
    own = rank == rank_and_world_size()[0]
    shape = torch.tensor(value.shape if own else [0] * int(dimensions), dtype=torch.int64, device=device)
    if len(shape):
        dist.broadcast(shape, rank)
    found = value.detach() if own else value.new_empty(shape.tolist())
    content = _bytes(found).to(device)
    if len(content):
        dist.broadcast(content, rank)
    return content.view(value.dtype).reshape(shape.tolist())


def shard(values: Tensor) -> Tensor:
    """The share of this process, ``values[rank::world_size]``; the sizes of all shares differ by at most one.

    Example:
        >>> shard(torch.arange(3))
        tensor([0, 1, 2])
    """
    rank, world_size = rank_and_world_size()
    return values[rank::world_size]


def rank_seed_parts() -> tuple[int, ...]:
    """What to add to a seed so that each process draws its own numbers: (rank,), and nothing in the first process.

    Example:
        >>> rank_seed_parts()
        ()
    """
    rank = rank_and_world_size()[0]
    return (rank,) if rank else ()


def differentiable_all_reduce_sum(values: Tensor) -> Tensor:
    """The sum over all processes, with its gradient; ``values`` stay as they are.

    Args:
        values: of the same shape in all processes.

    Example:
        >>> differentiable_all_reduce_sum(torch.tensor([1.0]))
        tensor([1.])
    """
    return _AllReduceSum.apply(values) if rank_and_world_size()[1] > 1 else values


class _AllReduceSum(Function):
    """The loss of each process depends on the values of all, so the gradient is the sum of all gradients."""

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
        return _AllReduceSum.apply(grad_outputs[0])
