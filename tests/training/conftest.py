"""A server of W&B on this machine, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from wandb_server import WandbServer

from orthotrace.training import reachable, tracking


@pytest.fixture
def served(monkeypatch):
    """W&B finds this server; its service, which remembers another one, is ended before and after."""
    import wandb

    @contextmanager
    def found(*how) -> Iterator[WandbServer]:
        wandb.teardown()
        with WandbServer(*how) as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            yield server

    monkeypatch.setattr(reachable, "ANSWER", 0.5)
    monkeypatch.setattr(tracking, "INIT", 0.5)
    monkeypatch.setattr(tracking, "FINISH", 0.5)
    yield found
    wandb.teardown()
