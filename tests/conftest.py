"""Small runs that tests share, and the commands called in this process."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import io
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import commands
import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("agg")

# Tests neither read nor fill the user's cache; the workers of xdist and the commands share this one.
CACHE = Path(tempfile.gettempdir()) / f"orthotrace-tests-{os.getpid()}"
os.environ.setdefault("ORTHOTRACE_CACHE", str(CACHE))

# A disk makes each file that replaces another wait until it is written, half of the time of a tiny run; memory does not.
# What tests leave is a gigabyte at most, and goes where all have passed.
MEMORY_FOLDER = Path("/dev/shm")
if os.access(MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(MEMORY_FOLDER).free > 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER))

# One tiny run: two tasks, one epoch, a small net.
TINY = ("stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[24]", "trainer.batch_size=128")

# What a process is forked from imports these once for all.
PRELOADED = ["orthotrace.training.experiment", "orthotrace.cli.train", "hydra.main", "sklearn.datasets"]


# What a shell ignores for a command in the background would be ignored by every command that is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option with which the tests that take longest run too."""
    parser.addoption("--whole", action="store_true", help="also the tests that are marked whole: make test-whole")


def pytest_unconfigure() -> None:
    """Leave no cache behind; of several workers the process that started them has made its path."""
    shutil.rmtree(CACHE, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked whole, of which make test has a part with other parameters."""
    if config.getoption("--whole"):
        return
    left, kept = [], []
    for item in items:
        (left if item.get_closest_marker("whole") else kept).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def pytest_collection_finish() -> None:
    """Collect garbage less often: with all modules and tests a whole collection takes .7 s."""
    gc.set_threshold(10_000, 10, 10)


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def call(main: Callable[[], None], arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys) -> Answer:
    """Call the main function of a command in this process."""
    monkeypatch.setattr(sys, "argv", [main.__module__, *arguments])
    capsys.readouterr()
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return Answer(code, said.out, said.err)


@pytest.fixture(scope="session", autouse=True)
def _inductor_cache(tmp_path_factory) -> None:
    """A cache of torch.compile for each worker: two that fill the same one at once break each other's files."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))


@functools.cache
def read_once() -> None:
    """Keep what every run reads anew and no test changes: the table of the digits, the plugins of Lightning, conf/.

    Hydra composes once more to see whether hydra.mode is set, which no test in this process does: commands in processes
    of their own run as they are.
    """
    import lightning_fabric.utilities.registry as plugins
    import sklearn.datasets
    from hydra._internal.hydra import Hydra

    Hydra.get_mode = lambda self, config_name, overrides: None
    for module, name in ((sklearn.datasets, "load_digits"), (plugins, "entry_points")):
        setattr(module, name, functools.cache(getattr(module, name)))
    keep_configurations()


@functools.cache
def keep_configurations() -> None:
    """Read each file of conf/, and of Hydra's own, once: a quarter of composing, and more of what reads the files alone."""
    import hydra
    from omegaconf import OmegaConf

    from orthotrace.config.conf import conf_folder

    folders = tuple(f"{folder}/" for folder in (conf_folder(), Path(hydra.__file__).parent))
    load, kept = OmegaConf.load, {}

    def loaded(file):
        name = str(getattr(file, "name", file))
        if not name.startswith(folders):
            return load(file)
        if name not in kept:
            kept[name] = load(file)
        return copy.deepcopy(kept[name])

    OmegaConf.load = staticmethod(loaded)


@pytest.fixture
def train(monkeypatch, capsys, tmp_path) -> Callable[..., Answer]:
    """orthotrace-train in this process, in an empty folder."""
    import orthotrace.cli.multirun
    import orthotrace.cli.train

    read_once()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(orthotrace.cli.multirun.Multirun, "failed", False)
    return lambda *arguments: call(orthotrace.cli.train.main, list(arguments), monkeypatch, capsys)


@pytest.fixture
def analyze(monkeypatch, capsys, tmp_path) -> Callable[..., Answer]:
    """orthotrace-analyze in this process, in an empty folder; no figures, unless formats are given."""
    import orthotrace.analysis.cli

    read_once()
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        # Drawing takes nine tenths of an analysis.
        formats = () if any(one.startswith("formats=") for one in arguments) else ("formats=[]",)
        return call(orthotrace.analysis.cli.main, [*arguments, *formats], monkeypatch, capsys)

    return run


def surroundings() -> dict[str, str]:
    """The environment for a subprocess, without the W&B service of this process, which the subprocess would keep alive."""
    return {name: value for name, value in os.environ.items() if name not in ("WANDB_SERVICE", "WANDB__SERVICE")}


def command(
    *arguments: str, cwd: Path, timeout: float = 120, forked: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command of the installed package in a process of its own; not forked where it starts workers of joblib."""
    program = Path(sys.executable).with_name(arguments[0])
    given, env = [str(program), *arguments[1:]], {**surroundings(), **environment}
    if not forked or not arguments[0].startswith("orthotrace-"):
        return subprocess.run(given, cwd=cwd, timeout=timeout, capture_output=True, text=True, env=env, check=False)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = started(*arguments, cwd=cwd, out=out, err=err, **environment)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(given, timeout, out.read_bytes(), err.read_bytes())
        # A negative exit code is a signal, as in subprocess.
        return subprocess.CompletedProcess(given, process.exitcode, out.read_text(), err.read_text())


def started(
    *arguments: str, cwd: Path, out: Path = Path(os.devnull), err: Path = Path(os.devnull), **environment: str
) -> BaseProcess:
    """A command of the installed package, running in a process of its own.

    It is forked from a process that has imported torch and Lightning, which takes longer than most of what is tested.
    """
    program = str(Path(sys.executable).with_name(arguments[0]))
    return fresh(commands.run, [program, *arguments[1:]], cwd, out, err, {**surroundings(), **environment})


def fresh(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A function that can be imported, running in a process of its own, forked from one that has only imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first worker of xdist makes and all share; nobody writes into it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done, failed = folder.with_suffix(".done"), folder.with_suffix(".failed")
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 600
        while not done.exists():
            assert not failed.exists() and time.monotonic() < deadline, f"{folder} was not made"
            time.sleep(0.1)
        return folder
    try:
        make(folder)
    except BaseException:
        failed.touch()
        raise
    done.touch()
    return folder


def called(main: Callable[[], None], *arguments: str) -> str:
    """The output of a command's main function in this process, which must succeed; for fixtures of a session."""
    read_once()
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
        patch.setattr(sys, "argv", [main.__module__, *arguments])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                main()
            except SystemExit as stop:
                if stop.code:
                    pytest.fail(out.getvalue())
        return out.getvalue()


@pytest.fixture(autouse=True)
def nothing_is_left_for_later_tests():
    """Figures that a test leaves open change what a later one in the same process draws, or warns of.

    After --info Hydra reports on every command as it does for debugging: it composes each five times more.
    """
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def first_states(request) -> dict[str, list[tuple[Callable[[Any], Any], Any]]]:
    """Of each module: how the generators in its namespace are set to the states that they had before the first test."""
    states = {}
    for module in {item.module for item in request.session.items if isinstance(item, pytest.Function)}:
        generators = [one for one in vars(module).values() if isinstance(one, np.random.Generator | torch.Generator)]
        states[module.__name__] = [
            (one.set_state, one.get_state())
            if isinstance(one, torch.Generator)
            else (functools.partial(setattr, one.bit_generator, "state"), one.bit_generator.state)
            for one in generators
        ]
    return states


@pytest.fixture(autouse=True)
def same_draws(request, first_states):
    """What a test draws does not depend on the tests that ran before it in the same process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    if isinstance(request.node, pytest.Function):
        for restore, state in first_states[request.module.__name__]:
            restore(state)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A folder of finished runs: finetune and gpm with three seeds each, hlop with two."""

    def make(folder: Path) -> None:
        from orthotrace.cli.train import main

        called(main, "--multirun", f"hydra.sweep.dir={folder}", "method=finetune,gpm", "seed=0,1,2", *TINY)
        called(main, "--multirun", f"hydra.sweep.dir={folder}", "method=hlop", "seed=0,1", "method.rows=4", *TINY)

    return made_once(tmp_path_factory, "study", make)


@pytest.fixture(scope="session")
def analysed(study, tmp_path_factory) -> Path:
    """An analysis of the study, of all tasks, with every figure as PNG: PDF and SVG take longer than all the rest."""

    def make(folder: Path) -> None:
        from orthotrace.analysis.cli import main

        said = called(main, f"runs={study}", f"out={folder}", "tasks=all", "formats=[png]")
        assert f"report: {folder}/report.html" in said and "finetune" in said

    return made_once(tmp_path_factory, "analysed", make)


@pytest.fixture(scope="session")
def epochs(tmp_path_factory) -> Path:
    """A folder of runs with networks kept at chosen epochs: of one task, of several, averaged; and one that keeps none."""

    def make(folder: Path) -> None:
        from orthotrace.cli.train import main

        small = ("trainer.max_epochs=3", "model.hidden=[8]", "trainer.batch_size=256", "trainer.accelerator=cpu")
        for name, options in {
            "single": ["stream=single", "trainer.checkpoints=[3,0,2,9]"],
            "tasks": ["method=gpm", "method.rows=2", "stream.tasks=2", "trainer.checkpoints=[0,1]"],
            "average": ["stream=single", "regularizer.average=.5", "trainer.checkpoints=[0,3]"],
            "none": ["stream=single"],
        }.items():
            called(main, *options, *small, f"hydra.run.dir={folder / name}")

    return made_once(tmp_path_factory, "epochs", make)


def snapshot(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
