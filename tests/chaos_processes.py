"""One of the processes of a command is killed: of a run on several devices, or a worker of a multirun. For make chaos."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from chaos_commands import PATIENCE, Command, finished, left_alone, train
from tally import Tally

# Seconds in which the others end; so many, since this machine may be busy.
SOON = 30
TOLD = "error: process 2 of 2 was killed by signal 9; the same command continues\n"
BROKEN = "error: a worker process was killed, maybe for want of memory; the same command continues\n"


def helpers(parent: int | None, word: str) -> list[int]:
    """The processes that one has started whose command line has a word."""
    found = []
    for entry in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            for child in map(int, entry.read_text().split()):
                if word in Path(f"/proc/{child}/cmdline").read_text():
                    found.append(child)
        # One of them has ended.
        except OSError:
            continue
    return found


def alive(process: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def awaited(command: Command, word: str, number: int) -> list[int]:
    """Its helpers, when so many have been started; fewer where it ends before."""
    deadline = time.monotonic() + PATIENCE
    while command.process.exitcode is None and time.monotonic() < deadline:
        if len(found := helpers(command.process.pid, word)) >= number:
            return found
        time.sleep(0.02)
    return []


def kill(process: int) -> None:
    """Kill a process, if it is there."""
    if alive(process):
        os.kill(process, signal.SIGKILL)


def left(processes: list[int]) -> list[int]:
    """Those that are there still when all should have ended; they are killed."""
    deadline = time.monotonic() + SOON
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    there = [process for process in processes if alive(process)]
    for process in there:
        kill(process)
    return there


def ranks(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Of a run of two processes one is killed, while they start or train: the other ends, and the run goes on."""
    draws, tally = random.Random(seed), Tally("kill: one of two processes")
    devices = ("trainer.accelerator=cpu", "trainer.devices=2", "hydra.run.dir=run")
    whole = {}
    for trial in range(number):
        method, rank, share = draws.choice(("gpm", "hlop")), draws.randrange(2), draws.random()
        job = train(f"method={method}", *devices)
        if method not in whole:
            whole[method] = left_alone(job, folder / method)
        seconds, right = whole[method]
        place = folder / str(trial)
        place.mkdir()
        command = Command(job, place)
        others = awaited(command, "train_ddp_process", 1)
        # From the start of the second one on: until they have found each other, and after.
        command.process.join(share * seconds)
        note = f"{method}: process {rank + 1}, {share * seconds:.1f} s after both were there"
        if command.process.exitcode is None:
            kill(others[0] if rank else command.process.pid or 0)
        start = time.monotonic()
        ended, there = command.ended(), left(others)
        if ended.code is None or there or time.monotonic() - start > SOON:
            tally.count("hangs", f"{note}: {ended}, {there}")
        elif ended.traceback:
            tally.count("tracebacks", f"{note}: {ended}")
        elif ended.code == 0 or (ended.code, ended.err) == (2, TOLD) or (not rank and ended.code == -signal.SIGKILL):
            finished(tally, job, place, "run", right, note)
        else:
            tally.count("wrong", f"{note}: {ended}")
        shutil.rmtree(place)
    yield tally


def workers(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """A worker of a multirun is killed: the command ends with one line, and goes on when it is given again."""
    draws, tally = random.Random(seed), Tally("kill: a worker of a multirun")
    jobs = (
        "method=gpm,finetune",
        "seed=0,1",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=run",
    )
    job = train(*jobs, multirun=True)
    seconds, right = left_alone(job, folder / "whole")
    for trial in range(number):
        place, share, which = folder / str(trial), draws.random(), draws.randrange(2)
        place.mkdir()
        command = Command(job, place)
        others = awaited(command, "popen_loky_posix", 2)
        command.process.join(share * seconds)
        note = f"worker {which}, {share * seconds:.1f} s after both were there"
        if command.process.exitcode is None:
            kill(others[which])
        ended, there = command.ended(), left(others)
        if ended.code is None or there:
            tally.count("hangs", f"{note}: {ended}, {there}")
        elif ended.traceback:
            tally.count("tracebacks", f"{note}: {ended}")
        elif ended.code == 0 or (ended.code == 2 and ended.err == BROKEN):
            finished(tally, job, place, "run", right, note)
        else:
            tally.count("wrong", f"{note}: {ended}")
        shutil.rmtree(place)
    yield tally
