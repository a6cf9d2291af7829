"""Products are as long as their tensors within the block, and torch is afterwards as it was."""

from __future__ import annotations

import pytest
import torch

from orthotrace.core.precision import full_precision, is_reduced

BACKENDS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)


def now() -> list[str]:
    return [one.fp32_precision for one in BACKENDS]


@pytest.fixture
def as_it_was():
    yield
    for one in BACKENDS:
        one.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")


def legacy() -> None:
    torch.set_float32_matmul_precision("high")


def own() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def both() -> None:
    legacy()
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


@pytest.mark.parametrize("shorten", [legacy, own, both])
def test_every_backend_is_exact_within_and_afterwards_as_it_was(as_it_was, shorten):
    assert not is_reduced("cpu")
    shorten()
    assert is_reduced("cpu")
    before = now()
    assert set(before) - {"none"}
    with pytest.raises(ZeroDivisionError), full_precision("cpu"):
        assert now() == ["ieee", "ieee"]
        raise ZeroDivisionError
    assert now() == before


def test_an_older_torch_has_one_setting_for_all(monkeypatch):
    class Old:
        pass

    given = ["high"]
    monkeypatch.setattr(torch.backends.cuda, "matmul", Old())
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: given[-1])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", given.append)
    with full_precision("cpu"):
        assert given == ["high", "highest"]
    assert given == ["high", "highest", "high"]


def test_autocast_is_off_within():
    a = torch.ones(2, 2)
    with torch.autocast("cpu"):
        with full_precision("cpu"):
            assert not torch.is_autocast_enabled("cpu") and (a @ a).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")


def test_where_nothing_is_shortened_nothing_is_done(monkeypatch):
    monkeypatch.setattr(torch, "autocast", None)
    with full_precision("cpu"):
        assert not torch.is_autocast_enabled("cpu")
