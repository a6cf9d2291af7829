"""Commands that are killed, interrupted, or meet a full disk, a removed folder or each other: for make chaos."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from conftest import TINY, snapshot, started, surroundings
from moments import CODES
from tally import Tally

from orthotrace.results.run_folder import Run, below, read_checkpoint

# Seconds after which a command hangs; so many, since this machine may be busy.
PATIENCE = 600
METHODS = ("gpm", "hlop", "er", "ewc_online")
TRAIN = ("stream.tasks=2", "trainer.max_epochs=2", "model.hidden=[16]", "trainer.batch_size=64", "trainer.save_every=0")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code (None: it did not), and what it printed."""

    code: int | None
    out: str
    err: str

    @property
    def traceback(self) -> bool:
        return "Traceback" in self.out + self.err

    def __str__(self) -> str:
        return f"code {self.code}, {self.err[-300:]!r}"


class Opened:
    """A command that is started as a shell starts it; called like a process of multiprocessing."""

    def __init__(self, *arguments: str, cwd: Path, out: Path, err: Path, **environment: str) -> None:
        program = str(Path(sys.executable).with_name(arguments[0]))
        with out.open("w") as stdout, err.open("w") as stderr:
            self._process = subprocess.Popen(
                [program, *arguments[1:]], cwd=cwd, stdout=stdout, stderr=stderr, env=surroundings() | environment
            )
        self.pid = self._process.pid
        self.kill = self._process.kill

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)


class Command:
    """A command in a process of its own.

    Args:
        arguments: program and its arguments.
        folder: where it is called.
        environment: further variables.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, **environment: str) -> None:
        self.folder = folder
        self.out, self.err = folder / "stdout", folder / "stderr"
        for path in (self.out, self.err):
            path.write_text("")
        # What is forked has no main module from which a launcher could start workers.
        start = Opened if "hydra/launcher=joblib" in arguments else started
        self.process: BaseProcess | Opened = start(*arguments, cwd=folder, out=self.out, err=self.err, **environment)

    def send(self, number: int, after: float) -> None:
        """A signal, some seconds from now."""
        self.process.join(after)
        if self.process.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, number)

    def ended(self) -> Ended:
        """Wait for its end."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        return Ended(code, self.out.read_text(), self.err.read_text())


def done(arguments: Sequence[str], folder: Path, **environment: str) -> Ended:
    """A command, from its start to its end."""
    return Command(arguments, folder, **environment).ended()


def bits(folder: Path) -> dict[str, object]:
    """All that must come out the same of the runs below a folder: weights, metrics, scores without seconds and commit."""
    found: dict[str, object] = {}
    for run in below(folder):
        name = str(run.folder.relative_to(folder))
        found[f"{name} scores"] = {**run.scores, "seconds": 0, "commit": None}
        found[f"{name} metrics"] = run.metrics_file.read_bytes()
        for path in sorted(run.checkpoints.glob("*.ckpt")):
            state = read_checkpoint(path)["state_dict"]
            found[f"{name} {path.name}"] = {key: value.numpy().tobytes() for key, value in state.items()}
    return found


def train(*more: str, multirun: bool = False) -> list[str]:
    """A small training, or several."""
    return ["orthotrace-train", *(["--multirun"] if multirun else []), *TRAIN, *more]


def left_alone(job: Sequence[str], place: Path) -> tuple[float, dict[str, object]]:
    """How long a command takes, and what it comes to in the folder run."""
    place.mkdir()
    start = time.monotonic()
    assert (ended := done(job, place)).code == 0, ended
    return time.monotonic() - start, bits(place / "run")


def finished(
    tally: Tally, arguments: Sequence[str], folder: Path, place: str, right: dict[str, object], note: str
) -> None:
    """Count whether the same command, given again, comes to the right result."""
    again = done(arguments, folder)
    if again.code is None:
        tally.count("hangs", f"{note}, then {again}")
    elif again.traceback:
        tally.count("tracebacks", f"{note}, then {again}")
    elif again.code:
        tally.count("lost", f"{note}, then {again}")
    else:
        tally.count("survived" if bits(folder / place) == right else "wrong", f"{note}: other bits")


def kills(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Trainings, multiruns and runs that replace another one, killed at random moments, once or twice, and given again."""
    draws = random.Random(seed)
    jobs = {
        "training": lambda method: train(f"method={method}", "hydra.run.dir=run"),
        "multirun": lambda method: train(f"method={method},finetune", "hydra.sweep.dir=run", multirun=True),
    }
    for kind, job in jobs.items():
        tally = Tally(f"kill: {kind}")
        whole = {}
        for trial in range(number):
            method, place = draws.choice(METHODS), folder / f"{kind}{trial}"
            if method not in whole:
                place_of = folder / f"{kind}-{method}"
                place_of.mkdir()
                start = time.monotonic()
                assert (first := done(job(method), place_of)).code == 0, first
                whole[method] = bits(place_of / "run"), time.monotonic() - start
            right, seconds = whole[method]
            place.mkdir()
            moments = [draws.uniform(0, seconds) for _ in range(draws.randint(1, 2))]
            for moment in moments:
                command = Command(job(method), place)
                command.send(signal.SIGKILL, moment)
                command.ended()
            finished(tally, job(method), place, "run", right, f"{method} at {moments}")
            shutil.rmtree(place)
        yield tally
    yield replacements(folder, number, draws)


def replacements(folder: Path, number: int, draws: random.Random) -> Tally:
    """A finished run is there; one that replaces it is killed: afterwards the old or the new one is there."""
    tally = Tally("kill: overwrite=true")
    old, new = train("method=gpm", "hydra.run.dir=run"), train("method=gpm", "optimizer.lr=.05", "hydra.run.dir=run")
    right = {}
    for name, job in (("old", old), ("new", new)):
        (folder / name).mkdir()
        start = time.monotonic()
        assert done(job, folder / name).code == 0
        right[name] = bits(folder / name / "run")
        seconds = time.monotonic() - start
    for trial in range(number):
        place, moment = folder / f"replace{trial}", draws.uniform(0, seconds)
        shutil.copytree(folder / "old", place)
        command = Command([*new, "overwrite=true"], place)
        command.send(signal.SIGKILL, moment)
        command.ended()
        # Without overwrite=true the old run is named as another one, or the new one goes on.
        again = done(new, place)
        if again.code == 2 and "another configuration" in again.err:
            tally.count("survived" if bits(place / "run") == right["old"] else "lost", f"at {moment}: {again}")
        elif again.code == 0:
            tally.count("survived" if bits(place / "run") == right["new"] else "wrong", f"at {moment}: other bits")
        else:
            tally.count("tracebacks" if again.traceback else "lost", f"at {moment}: {again}")
        shutil.rmtree(place)
    return tally


def killed_analyses(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Analyses that are killed and given again: the same files to the byte, and no others."""
    draws, tally = random.Random(seed), Tally("kill: analysis")
    assert (
        done(["orthotrace-train", "--multirun", *TINY, "method=gpm", "seed=0,1", "hydra.sweep.dir=runs"], folder).code
        == 0
    )
    job = ["orthotrace-analyze", "runs=runs", "out=out", "formats=[png]"]
    start = time.monotonic()
    assert done(job, folder).code == 0
    seconds, right = time.monotonic() - start, snapshot(folder / "out")
    for _ in range(number):
        shutil.rmtree(folder / "out")
        moment = draws.uniform(0, seconds)
        command = Command(job, folder)
        command.send(signal.SIGKILL, moment)
        command.ended()
        again = done(job, folder)
        if again.code:
            tally.count("tracebacks" if again.traceback else "lost", f"at {moment}: {again}")
            continue
        found = snapshot(folder / "out")
        other = sorted(name for name in found.keys() | right if found.get(name) != right.get(name))
        tally.count("wrong" if other else "survived", f"at {moment}: {other}")
    yield tally


def signals(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """SIGINT and SIGTERM at random moments: one line, 130 or 143, and the same command goes on."""
    draws, tally = random.Random(seed), Tally("signals")
    job = train("method=gpm", "hydra.run.dir=run")
    seconds, right = left_alone(job, folder / "whole")
    for trial in range(number):
        place, sent, moment = folder / str(trial), draws.choice(list(CODES)), draws.uniform(0, seconds)
        place.mkdir()
        command = Command(job, place)
        # Before its first step the process is not yet the command: .3 s, on a busy machine a share of what a run takes.
        command.send(sent, moment + max(0.3, 0.04 * seconds))
        ended = command.ended()
        line = ended.err.startswith("interrupted") and ended.err.endswith("the same command continues\n")
        if ended.code is None:
            tally.count("hangs", f"{sent.name} at {moment}")
        elif ended.code == 0 or (ended.code == CODES[sent] and line and ended.err.count("\n") == 1):
            finished(tally, job, place, "run", right, f"{sent.name} at {moment}")
        else:
            tally.count("tracebacks" if ended.traceback else "wrong", f"{sent.name} at {moment}: {ended}")
        shutil.rmtree(place)
    yield tally


@contextmanager
def disk(place: Path, options: str) -> Iterator[bool]:
    """A tmpfs at a place; False where this machine does not let one be mounted."""
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    """Change a disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def full_disks(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """A training on a disk of a random size: it fits, or one line; with room the same command goes on."""
    draws, tally = random.Random(seed), Tally("a full disk")
    job = train("method=gpm", "hydra.run.dir=disk/run")
    (folder / "whole").mkdir()
    assert done(job, folder / "whole").code == 0
    right = bits(folder / "whole" / "disk" / "run")
    need = sum(path.stat().st_blocks * 512 for path in (folder / "whole" / "disk").rglob("*"))
    for _ in range(number):
        size = draws.randrange(4096, int(1.3 * need))
        with disk(folder / "disk", f"size={size}") as mounted:
            if not mounted:
                break
            ended = done(job, folder)
            if ended.code is None:
                tally.count("hangs", f"{size} bytes")
            elif ended.traceback or ended.code not in (0, 2) or (ended.code == 2 and ended.err.count("\n") != 1):
                tally.count("tracebacks" if ended.traceback else "wrong", f"{size} bytes: {ended}")
            else:
                remount(folder / "disk", "size=64m")
                finished(tally, job, folder, "disk/run", right, f"{size} bytes")
    yield tally


def read_only_disks(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Commands that write to a disk which is read-only: one line, and nothing is changed."""
    draws, tally = random.Random(seed), Tally("a read-only disk")
    place = folder / "disk"
    with disk(place, "size=64m") as mounted:
        if mounted:
            job = train("method=gpm", "hydra.run.dir=disk/run")
            assert done(job, folder).code == 0
            right = snapshot(place)
            remount(place, "ro")
            jobs = [
                train("method=gpm", "hydra.run.dir=disk/new"),
                [*job, "overwrite=true"],
                [*train("method=gpm", "seed=3", "hydra.run.dir=disk/run"), "overwrite=true"],
                train("seed=1,2", "hydra.sweep.dir=disk/many", multirun=True),
                ["orthotrace-analyze", "runs=disk/run", "formats=[png]"],
            ]
            for _ in range(number):
                wanted = draws.choice(jobs)
                ended = done(wanted, folder)
                said = ended.err if "--multirun" not in wanted else ended.out + ended.err
                if ended.traceback or ended.code is None:
                    tally.count("tracebacks" if ended.traceback else "hangs", f"{wanted}: {ended}")
                else:
                    fine = ended.code in (1, 2) and "read-only" in said.lower() and snapshot(place) == right
                    tally.count("survived" if fine else "wrong", f"{wanted}: {ended}")
    yield tally


def removed_folders(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """A run's folder is removed while it is trained: it stops and says so, and the same command begins anew."""
    draws, tally = random.Random(seed), Tally("a removed folder")
    job = train("method=gpm", "hydra.run.dir=run")
    seconds, right = left_alone(job, folder / "whole")
    for trial in range(number):
        place, moment = folder / str(trial), draws.uniform(0, seconds)
        place.mkdir()
        command = Command(job, place)
        command.process.join(moment)
        shutil.rmtree(place / "run", ignore_errors=True)
        ended = command.ended()
        # Removed before it began or after its end, it is not missed.
        fine = ended.code == 2 and "removed" in ended.err and ended.err.count("\n") == 1
        if ended.code is None or ended.traceback:
            tally.count("hangs" if ended.code is None else "tracebacks", f"at {moment}: {ended}")
        elif fine or (ended.code == 0 and (not (place / "run").exists() or Run(place / "run").finished)):
            finished(tally, job, place, "run", right, f"at {moment}")
        else:
            tally.count("wrong", f"at {moment}: {ended}, left: {sorted(snapshot(place))}")
        shutil.rmtree(place)
    yield tally


def two_at_once(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """The same command twice, a random time apart: one trains, the other is refused or finds it finished."""
    draws, tally = random.Random(seed), Tally("two commands in one folder")
    job = train("method=gpm", "hydra.run.dir=run")
    seconds, right = left_alone(job, folder / "whole")
    for trial in range(number):
        places = [folder / f"{trial}{one}" for one in "ab"]
        for place in places:
            place.mkdir()
        apart = draws.choice([0, draws.uniform(0, 1.2 * seconds)])
        both = [*job[:-1], f"hydra.run.dir={folder}/shared{trial}"]
        first = Command(both, places[0])
        time.sleep(apart)
        found = [one.ended() for one in (first, Command(both, places[1]))]
        if any(one.code is None or one.traceback for one in found):
            tally.count("hangs" if any(one.code is None for one in found) else "tracebacks", f"{apart}: {found}")
        else:
            fine = all(one.code == 0 or (one.code == 2 and "in use" in one.err) for one in found)
            same = bits(folder / f"shared{trial}") == right
            tally.count(
                "survived" if fine and same and 0 in [one.code for one in found] else "wrong", f"{apart}: {found}"
            )
        shutil.rmtree(folder / f"shared{trial}", ignore_errors=True)
    yield tally
