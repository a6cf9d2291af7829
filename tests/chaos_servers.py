"""Trainings beside a W&B server that fails at a random moment: for make chaos."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from chaos_commands import Ended, bits, done, train
from conftest import command
from moments import server_faults
from tally import Tally
from wandb_server import WandbServer


def what_is_wrong(ended: Ended, place: Path, right: dict[str, object], server: WandbServer) -> tuple[str, str]:
    """The outcome of one training, and why."""
    if ended.code is None or ended.traceback:
        return ("hangs" if ended.code is None else "tracebacks"), str(ended)
    login = server.fault in (401, 404)
    if ended.code == 2 and login and ended.err.count("\n") == 1 and not list((place / "run").rglob("*.ckpt")):
        # The user is to log in, and nothing was trained.
        return "survived", ""
    if ended.code or bits(place / "run") != right:
        return ("lost" if ended.code else "wrong"), str(ended)
    with (place / "run" / "metrics.csv").open() as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    if any([row["train_loss"] for row in run.history if "train_loss" in row] == losses for run in server.runs.values()):
        return "survived", ""
    folders = sorted((place / "run" / "wandb").glob("*run-*"))
    if len(folders) != 1:
        return "lost", f"{len(folders)} folders to sync"
    with WandbServer() as whole:
        synced = command("orthotrace-runs", "sync", "run", cwd=place, **whole.environment)
        found = [[row["train_loss"] for row in run.history if "train_loss" in row] for run in whole.runs.values()]
    return ("survived", "") if losses in found else ("lost", f"synced {found}, not {losses}: {synced.stdout[-300:]}")


def failing_servers(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """The training is what it is without W&B, and its offline run is synced whole; or one line says to log in."""
    tally, job = Tally("W&B server faults"), train("method=gpm", "hydra.run.dir=run", "logger=wandb", "name=x")
    (folder / "whole").mkdir()
    assert done(train("method=gpm", "hydra.run.dir=run"), folder / "whole").code == 0
    right = bits(folder / "whole" / "run")
    for trial, server in enumerate(server_faults(seed, number)):
        place = folder / str(trial)
        place.mkdir()
        about = f"{server.fault} after {server.after} requests of '{server.only}'"
        with server:
            ended = done(job, place, **server.environment)
            outcome, why = what_is_wrong(ended, place, right, server)
        tally.count(outcome, f"{about}: {why}")
    yield tally
