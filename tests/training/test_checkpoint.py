"""A run whose files were damaged: named, never believed, and continued from what is whole, to the same bits."""

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from composed import StopError, Stopping
from conftest import made_once
from damage import cases, damage

from orthotrace.core.errors import UserError
from orthotrace.core.folders import FolderInUseError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.finetune import Finetune
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run, is_whole, read_checkpoint
from orthotrace.training.experiment import Experiment
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.tracking import Tracker

SGD = Optimization(lambda parameters: torch.optim.SGD(parameters, 0.1))
NAMES = ("last", "previous", "task1")


def made(folder, tracker=None, seed=0) -> Experiment:
    stream = Permuted(digits(), tasks=2)
    torch.manual_seed(seed)
    parts = Components(stream, MLP(stream.shape, 10, hidden=[4]), Finetune(), Seeds(order=seed), {"method": "finetune"})
    options = {"accelerator": "cpu", "devices": 1}
    return Experiment(Run(folder), parts, SGD, Training.of(3, 512, save_every=0), options, tracker)


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A run that was never stopped, one that was stopped within its second task, and another run's."""

    def make(folder: Path) -> None:
        made(folder / "whole").run()
        for name, seed in (("cut", 0), ("other", 1)):
            with pytest.raises(StopError):
                made(folder / name, Stopping(2, 3), seed).run()

    return made_once(tmp_path_factory, "damaged", make)


def state(run: Run) -> dict[str, torch.Tensor]:
    return read_checkpoint(run.last)["state_dict"]


def same(run: Run, whole: Run) -> bool:
    one, two = state(run), state(whole)
    scores = {**run.scores, "seconds": 0} == {**whole.scores, "seconds": 0}
    return scores and list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)


def test_two_generations_are_kept_until_the_run_is_finished(runs):
    assert {path.name for path in (runs / "cut" / "checkpoints").glob("*.ckpt")} == {f"{name}.ckpt" for name in NAMES}
    assert [path.stem for path in Run(runs / "cut").generations] == list(NAMES)
    progress = [read_checkpoint(path)["orthotrace"]["progress"] for path in Run(runs / "cut").generations]
    assert [(one["task"], one["epoch"]) for one in progress] == [(1, 2), (1, 1), (1, 0)]
    assert not Run(runs / "whole").previous.exists()


@pytest.mark.parametrize(
    ("kind", "names"), [("flip", NAMES[:1]), ("cut", NAMES[:1]), ("missing", NAMES[:1]), ("other", NAMES[:2])]
)
def test_a_run_goes_on_from_the_last_checkpoint_that_is_whole(runs, tmp_path, kind, names):
    shutil.copytree(runs / "cut", tmp_path / "run")
    run = Run(tmp_path / "run")
    for name in names:
        damage(run.checkpoints / f"{name}.ckpt", kind, 3, runs / "other" / "checkpoints" / f"{name}.ckpt")
    if kind == "missing":
        made(run.folder).run()
    else:
        with pytest.warns(UserWarning, match="damaged") as told:
            made(run.folder).run()
        (line,) = (str(one.message) for one in told if "damaged" in str(one.message))
        assert "last.ckpt is damaged" in line and f"goes on from {NAMES[len(names)]}.ckpt" in line and "\n" not in line
    assert same(Run(run.folder), Run(runs / "whole"))


def test_a_damaged_checkpoint_never_takes_the_place_of_a_whole_one(runs, tmp_path):
    """Stopped again after the next checkpoint, the run has two generations that are whole."""
    shutil.copytree(runs / "cut", tmp_path / "run")
    run = Run(tmp_path / "run")
    damage(run.last, "flip", 3)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(StopError):
        made(run.folder, Stopping(2, 3)).run()
    assert [path.stem for path in run.generations] == list(NAMES) and all(map(is_whole, run.generations))


@pytest.mark.parametrize("with_digests", [True, False])
def test_no_damage_to_a_checkpoint_is_believed(runs, tmp_path, with_digests):
    """Also of a run without digests, by the checksums that every checkpoint has inside."""
    shutil.copytree(runs / "cut" / "checkpoints", tmp_path / "checkpoints")
    run, right = Run(tmp_path), state(Run(runs / "cut"))
    if not with_digests:
        (run.checkpoints / ".sha256").unlink()
    content, refused = run.last.read_bytes(), 0
    module = made(tmp_path / "unused").learner
    checkpoints = made(tmp_path).checkpoints
    for kind, seed in cases(flips=25, cuts=2):
        if kind in ("missing", "other"):
            continue
        damage(run.last, kind, seed)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            _, path = checkpoints.restore(module, rank=1)
            assert not told
        refused += path != run.last
        if path == run.last:
            assert all(torch.equal(value, right[key]) for key, value in module.state_dict().items())
        run.last.write_bytes(content)
    assert refused == 28 if with_digests else refused >= 20


def test_where_nothing_is_whole_it_is_one_line(runs, tmp_path):
    shutil.copytree(runs / "cut", tmp_path / "run")
    run = Run(tmp_path / "run")
    for path in run.generations:
        damage(path, "flip", 5)
    with pytest.raises(UserError, match=r"last\.ckpt is damaged: .*, and so are 2 earlier ones; put a good copy"):
        made(run.folder).run()
    with pytest.raises(UserError, match=r"task1\.ckpt is damaged: "):
        run.__dict__["config"] = None
        run.network(1)


class Doing(Tracker):
    def __init__(self, what):
        self.what = what

    def epoch(self, row, number):
        if number == 4:
            self.what()


@pytest.mark.parametrize("what", ["", "checkpoints"])
def test_a_folder_that_is_removed_during_the_run_is_not_made_again(tmp_path, what):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="was removed while it was written to"):
        made(folder, Doing(lambda: shutil.rmtree(folder / what))).run()
    assert not (folder / what).exists()


def test_a_second_process_in_the_folder_is_refused(tmp_path, monkeypatch):
    import fcntl

    def taken(*_):
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "lockf", taken)
    with pytest.raises(FolderInUseError, match="is in use by another process"):
        made(tmp_path / "run").run()


def test_checkpoints_are_read_without_pickle(runs, tmp_path, monkeypatch):
    """By Lightning too, whatever the environment says."""
    shutil.copytree(runs / "cut", tmp_path / "run")
    given = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **options: given.append(options) or load(*args, **options))
    made(tmp_path / "run").run()
    assert len(given) == 2 and all(options["weights_only"] is True for options in given)
