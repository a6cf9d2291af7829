"""Products in the precision of their tensors, whatever torch was asked to do for those of a network."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


def full_precision(device: str) -> AbstractContextManager[object]:
    """Within the block no product of float32 tensors is rounded to a shorter type: no autocast, TF32 or bfloat16.

    TF32 has 10 bits of a number: what is projected with it keeps a thousandth of what was to be taken. All is
    afterwards what it was. Where nothing is shortened, which is torch's default, nothing is done.

    Args:
        device: the kind, such as "cuda".

    Example:
        >>> a = torch.ones(2, 2)
        >>> with torch.autocast("cpu"):
        ...     with full_precision("cpu"):
        ...         exact = a @ a
        ...     (a @ a).dtype, exact.dtype
        (torch.bfloat16, torch.float32)
    """
    return _without_short_types(device) if is_reduced(device) else nullcontext()


def is_reduced(device: str) -> bool:
    """Whether products of float32 tensors are rounded to a shorter type here, on a kind of device.

    Example:
        >>> is_reduced("cpu")
        False
    """
    if torch.is_autocast_enabled(device):
        return True
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:
        # So torch says that its backends were given precisions of their own.
        return True


@contextmanager
def _without_short_types(device: str) -> Iterator[None]:
    before = _precisions()
    try:
        _set(["ieee"] * len(before))
        with torch.autocast(device, enabled=False):
            yield
    finally:
        _set(before)


def _precisions() -> list[str]:
    """Of each backend, as torch 2.9 and newer name them; else one for all."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return [torch.get_float32_matmul_precision()]
    return [one.matmul.fp32_precision for one in _backends()]


def _set(precisions: list[str]) -> None:
    if len(precisions) == 1:
        torch.set_float32_matmul_precision("highest" if precisions == ["ieee"] else precisions[0])
        return
    for one, precision in zip(_backends(), precisions, strict=True):
        one.matmul.fp32_precision = precision


def _backends() -> list[Any]:
    return [torch.backends.cuda, torch.backends.mkldnn]
