"""Every mistake a user can make: one line, exit code 2, nothing lost."""

from __future__ import annotations

import resource
import shutil
import signal

import pytest
from conftest import TINY, command, snapshot
from part import part

BAD = {
    "method=hlpo": "method=hlpo: no such option; did you mean 'hlop'? There are: agem, api, associative, codecl, cuber, derpp, duncker, eblora, er, er_ace, ewc, ewc_online, finetune, gpm, hat, hlop, icarl, independent, inflora, joint, lwf, nscl, owm, sgp, si, splitlora, trgp",
    "metod=hlop": "metod: no such key; did you mean 'method'?",
    "+metod=hlop": "metod: no such key; did you mean 'method'?",
    "stream.tsks=3": "stream.tsks: no such key; did you mean 'stream.tasks'? There are: stream.blur",
    "+stream.foo=3": "stream.foo: no such option",
    "+method.foo=3": "method.foo: no such option",
    "trainer.foo=3": "trainer.foo: no such key",
    "seeds=3": "seeds: has keys of its own: write seeds.KEY=..., where KEY is one of init, order,",
    "rates=3": "rates: has keys of its own, which are yours to name: write +rates.NAME=...",
    "method.memory=3": "method.memory: has keys of its own: write method.memory.KEY=..., where KEY is one of size,",
    "concepts.whitening=none": "concepts.whitening: has keys of its own",
    "+trainer.limit_train=3": "trainer.limit_train: no such option; did you mean 'limit_train_batches'?",
    "+trainer.logger=true": "trainer.logger: is set by orthotrace itself",
    "stream.tasks=abc": "stream.tasks: input should be a valid integer (got 'abc')",
    "stream.tasks=-1": "stream.tasks: input should be greater than or equal to 1 (got -1)",
    "trainer.max_epochs=-1": "trainer.max_epochs: input should be greater than or equal to 1 (got -1)",
    "trainer.max_epochs=1.5": "trainer.max_epochs: input should be a valid integer",
    "trainer.batch_size=0": "trainer.batch_size: input should be greater than or equal to 1 (got 0)",
    "trainer.precision=bf16-true": "trainer.precision: bf16-true rounds small steps away",
    "trainer.precision=bf17": "trainer.precision: input should be 64, 32 or 16 or",
    "method.energy=1.5": "method.energy: input should be less than or equal to 1 (got 1.5)",
    "method.energy=0": "method.energy: input should be greater than 0 (got 0)",
    "method.energy=[.9,.9,.9]": "method.energy: 3 values for 2 protected layers (fc1, head): give one for each",
    "method.rows=-3": "method.rows: input should be greater than or equal to 0 (got -3)",
    "method.rows={fc9:3,head:1}": "method.rows: there is no protected layer 'fc9'; did you mean 'fc1'?",
    "method.rows=1000": "method.rows: layer 'fc1': 1000 rows, but the layer has 64 features",
    "method.rows_from=nowhere": "method.rows_from: there is no folder nowhere",
    "method.momentum=1": "method.momentum: input should be less than 1 (got 1)",
    "model.hidden=[0]": "model.hidden: input should be greater than or equal to 1 (got 0)",
    "model._target_=orthotrace.nothing.MLP": "model._target_: 'orthotrace.nothing.MLP' cannot be found: ",
    "model._target_=nowhere.Net": "model._target_: 'nowhere.Net' cannot be found: there is no module 'nowhere' (looked for in /",
    "model=custom": "model._target_: is missing; write model._target_=VALUE",
    "dataset=mnis": "dataset=mnis: no such option; did you mean 'mnist'?",
    "dataset=parquet": "dataset.path: is missing; write dataset.path=VALUE",
    "stream.scenario=classes": "stream.scenario: input should be 'task', 'domain' or 'class' (got 'classes')",
    "stream.online=true": "stream.online: an online stream is seen once: set trainer.max_epochs=1 (it is 2)",
    "regularizer.dropout=1": "regularizer.dropout: input should be less than 1 (got 1)",
    "regularizer=[dropout,l2]": "regularizer: one option only (got [dropout,l2]); set the keys of others beside it",
    "regularizer=l3": "regularizer=l3: no such option; there are: dropconnect, dropout",
    "scheduler=cosine": "scheduler.warmup: 9 of 2 epochs leaves none to fall in",
    "augmentation.flip=2": "augmentation.flip: input should be less than or equal to 1 (got 2)",
    "trainer.evaluate_inside=0": "trainer.evaluate_inside: input should be greater than or equal to 1 (got 0)",
    "method=er": "method.memory.size: 9 images cannot hold one of each of the 10 classes",
    "method.memory.size=9": "method.memory.size: 9 images cannot hold one of each of the 10 classes",
    "method.memory.sizes=9": "method.memory.sizes: no such key; did you mean 'method.memory.size'?",
    "dataset.scale=-1": "dataset.scale: input should be greater than 0 (got -1)",
    "optimizer.lr=-1": "optimizer.lr: input should be greater than or equal to 0 (got -1)",
    "optimizer.lr=fast": "optimizer.lr: input should be a valid number (got 'fast')",
    "+optimizer.foo=1": "optimizer.foo: no such option; there are: ",
    "on_failure=never": "on_failure: input should be 'continue' or 'stop' (got 'never')",
    "seed=abc": "seed: input should be a valid integer",
    "seed=[1": "seed=[1: not understood; write key=value",
    "seed=0,": "seed=0,: not understood; write no space beside a comma, as in seed=0,1",
    "seed=0,1": "seed=0,1: for a run with each value add --multirun; one list is 'seed=[0,1]'",
    "logger=wandbb": "logger=wandbb: no such option; did you mean 'wandb'?",
    "method=null": "method: there is no option null; there are: agem, codecl,",
    "model=1": "model: there is no option 1; there are: alexnet,",
    "stream=true": "stream: there is no option True; there are: blurred,",
    "logger=null": "logger: there is no option null; there are: csv,",
    "~logger": "logger: is missing; write logger=OPTION",
    "~method.rows": "method.rows: is null already",
    "~seeds.init": "seeds.init: is missing; write seeds.init=VALUE",
    "hydra=null": "hydra: is Hydra's own, and no value",
    "hydra.run.dir=null": "hydra.run.dir: field 'hydra.run.dir' is not Optional",
    "hydra.run.dir=''": "hydra.run.dir: is the name of a folder (got '')",
    "seed=${nothing}": "seed: cannot be resolved: Interpolation key 'nothing' not found",
    "--multrun": "--multrun: no such flag; did you mean '--multirun'?",
    "--cfg=jobs": "--cfg/-c: invalid choice: 'jobs'",
    "experiment=digit": "experiment=digit: no such option; did you mean 'digits'?",
    "hydra.run.dir=/dev/null/x": "cannot write /dev/null/x: not a directory",
}


# What a mistake needs beside it.
WITH = {
    "stream.online=true": ["trainer.max_epochs=2"],
    "scheduler=cosine": ["scheduler.warmup=9", "trainer.max_epochs=2"],
    "method=er": ["method.memory.size=9"],
    "method.memory=3": ["method=er"],
    "concepts.whitening=none": ["concepts=strokes", "concepts.layer=bn1"],
}


AGAIN = (
    "+stream.foo=3", "+metod=hlop", "+method.foo=3", "trainer.foo=3", "rates=3", "method.memory=3", "concepts.whitening=none",
    "+trainer.limit_train=3", "method.memory.sizes=9", "+optimizer.foo=1", "dataset=mnis", "logger=wandbb",
    "method=null", "model=1", "stream=true", "experiment=digit", "method=er", "regularizer=l3", "~seeds.init",
    "dataset=parquet", "method.rows={fc9:3,head:1}", "model._target_=orthotrace.nothing.MLP",
)  # fmt: skip


def _cases():
    """Whole: values of another type or out of their range, which tests/bad_configurations.py draws for every key."""
    for override, line in BAD.items():
        typed = ": input should be " in line
        # Of the keys that there are not, and of the options, some.
        again = override in AGAIN
        yield pytest.param(override, marks=pytest.mark.whole) if typed or again else override


@pytest.mark.parametrize("override", list(_cases()))
def test_a_mistake_is_one_line(train, tmp_path, override):
    given = [item for item in TINY if item.split(".")[0] != "model" or override.split("=")[0] != "model"]
    mine = {item.split("=")[0] for item in (override, *WITH.get(override, ()))}
    given = [item for item in given if item.split("=")[0] not in mine]
    answer = train(*given, override, *WITH.get(override, ()))
    lines = answer.err.strip().split("\n")
    assert answer.code == 2
    assert lines[-1].startswith(f"error: {BAD[override]}"), answer.err
    assert len(lines) == 1
    assert not snapshot(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["method=finetune,hlpo"], "method=hlpo: no such option"),
        (["seed=0,x"], "seed: input should be a valid integer (got 'x') (in the job "),
        (["hydra.sweep.dir=''", "seed=0,1"], "hydra.sweep.dir: is the name of a folder (got '')"),
        (["method=finetune,gpm", "method.energy=.9"], "method.energy: no such key; the chosen method has no keys"),
    ],
)
def test_a_multirun_with_a_typo_starts_nothing(train, tmp_path, overrides, line):
    answer = train("--multirun", *TINY, *overrides)
    assert answer.code == 2 and f"error: {line}" in answer.err
    assert not list(tmp_path.rglob("scores.json"))


@pytest.mark.parametrize(
    ("launcher", "overrides", "line"),
    [
        ("basic", ["optimizer.lr=.1,abc"], "optimizer.lr: input should be a valid number (got 'abc')"),
        ("joblib", ["optimizer.lr=.1,abc"], "optimizer.lr: input should be a valid number (got 'abc')"),
        ("joblib", ["method=finetune,gpm", "+method.foo=1"], "method.foo: no such option"),
    ],
)
def test_every_launcher_s_jobs_are_checked_before_one_starts(train, tmp_path, launcher, overrides, line):
    answer = train("--multirun", f"hydra/launcher={launcher}", *TINY, *overrides)
    assert answer.code == 2 and answer.err.startswith(f"error: {line}"), answer.err
    assert answer.err.count("\n") == 1 and not answer.out
    assert not list(tmp_path.rglob("scores.json")) and not list(tmp_path.rglob("failed.txt"))


def test_a_failed_job_does_not_stop_the_others(train, tmp_path):
    answer = train("--multirun", *TINY, "method=gpm", "method.rows=1000,3", "hydra.sweep.dir=all")
    assert answer.code == 1
    assert len(list(tmp_path.rglob("scores.json"))) == 1
    failed = [line for line in answer.out.split("\n") if line.startswith("failed: ")]
    assert len(failed) == 1 and "1000 rows" in " ".join(answer.out.split())
    # Mended, the job starts again and its failure is forgotten.
    (folder,) = [path.parent for path in tmp_path.rglob("failed.txt")]
    assert "1000 rows" in (folder / "failed.txt").read_text()


def test_a_changed_configuration_is_refused_with_the_difference(train, tmp_path):
    assert train(*TINY, "hydra.run.dir=run").code == 0
    before = snapshot(tmp_path)
    answer = train(*TINY, "hydra.run.dir=run", "optimizer.lr=.1", "seed=3")
    assert answer.code == 2
    assert "optimizer.lr: 0.05 -> 0.1" in answer.err and "seed: 0 -> 3" in answer.err
    assert snapshot(tmp_path) == before


def test_files_of_something_else_are_not_overwritten(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.json").write_text("mine")
    answer = train(*TINY, "hydra.run.dir=run", "overwrite=true")
    assert answer.code == 2 and "holds scores.json of something else" in answer.err
    assert snapshot(tmp_path) == {"run/scores.json": b"mine"}


@pytest.mark.parametrize(
    ("file", "content"),
    [("scores.json", b"{"), ("scores.json", b"{}"), ("scores.json", b'"x"'), (".hydra/config.yaml", b"{a: [")],
)
def test_damaged_files_of_a_run_are_named_and_kept(train, study, tmp_path, file, content):
    run = next(study.glob("method=gpm*seed=0*"))
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(content)
    # From checkpoints the scores would be written again.
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = snapshot(tmp_path)
    answer = train(*TINY, "method=gpm", "seed=0", "hydra.run.dir=run")
    assert answer.code == 2 and file in answer.err and "damaged" in answer.err
    assert snapshot(tmp_path) == before


def test_a_damaged_checkpoint_is_named_and_kept(train, study, tmp_path):
    run = next(study.glob("method=gpm*seed=0*"))
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "scores.json").unlink()
    # From one that is whole the run would go on.
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        path.write_bytes(b"PK half")
    before = snapshot(tmp_path)
    answer = train(*TINY, "method=gpm", "seed=0", "hydra.run.dir=run")
    assert answer.code == 2 and "last.ckpt is damaged" in answer.err
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before if ".hydra" not in name} == {
        name: content for name, content in before.items() if ".hydra" not in name
    }


def test_a_full_disk_is_one_line_and_loses_nothing(train, tmp_path):
    """With a limit on the size of files: a checkpoint does not fit, as on a full disk."""
    assert train(*TINY, "hydra.run.dir=run").code == 0
    before = snapshot(tmp_path / "run" / "checkpoints")
    # Of another seed: it would go on from the run of two tasks.
    overrides = [*TINY[1:], "stream.tasks=3", "seed=1", "hydra.run.dir=other"]
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, most[1]))
    try:
        full = train(*overrides)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, handler)
    assert full.code == 2, full.err
    assert "cannot write" in full.err and "file too large" in full.err and "Traceback" not in full.err
    assert not list((tmp_path / "other").rglob("*.ckpt")) and not list((tmp_path / "other").rglob("*.part*"))
    assert snapshot(tmp_path / "run" / "checkpoints") == before
    # With room again, the same command goes on.
    assert train(*overrides).code == 0


@pytest.mark.parametrize(
    ("flag", "place"),
    [("--multirun", 1), ("-m", 2)]
    + [
        pytest.param(*one, marks=pytest.mark.whole)
        for one in (("--multirun", 0), ("--multirun", 2), ("-m", 0), ("-m", 1))
    ],
)
def test_a_multirun_is_asked_for_anywhere(train, flag, place):
    words = ["seed=0,1", "model.hidden=[-1]"]
    answer = train(*words[:place], flag, *words[place:], "hydra.sweep.dir=all")
    assert answer.code == 2 and answer.err.startswith("error: model.hidden: ") and "in the job seed=0" in answer.err


def test_help_answers_at_once(tmp_path):
    def spent() -> float:
        # Processor time: others may work on this machine.
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    for program in ("orthotrace-train", "orthotrace-analyze"):
        start = spent()
        done = command(program, "--help", cwd=tmp_path, forked=False)
        assert done.returncode == 0 and "Keys" in done.stdout
        assert spent() - start < 2


def test_help_is_what_hydra_prints(tmp_path):
    ways = ((), ("--config-name", "train"), ("seed=0",))
    ours, hydras, other = (command("orthotrace-train", "--help", *rest, cwd=tmp_path).stdout for rest in ways)
    # For Hydra every folder is a group, also that of the files for W&B's sweeps.
    assert ours == other == hydras.replace("sweep: gpm, hlop, methods\n", "") and "experiment: " in ours
    (tmp_path / "conf" / "method" / "deep").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "mine.yaml").write_text("a: 1")
    (tmp_path / "conf" / "method" / "deep" / "er.yaml").write_text("a: 1")
    ways = ((), ("--config-name", "train"))
    own = ("--help", "--config-dir", "conf")
    ours, hydras = (command("orthotrace-train", *own, *rest, cwd=tmp_path).stdout for rest in ways)
    assert ours == hydras.replace("sweep: gpm, hlop, methods\n", "") and ", mine," in ours and "method/deep: er" in ours


def test_every_method_and_key_is_in_cfg_job(train):
    answer = train("--cfg", "job")
    assert answer.code == 0 and "max_epochs: 5" in answer.out


# Choices that do not go together, and data that is not there: (overrides, line).
TOGETHER = [
    (
        ["regularizer.early_stopping=2", "stream.validation=0"],
        "regularizer.early_stopping: is decided on the validation part",
    ),
    (
        ["regularizer.restore_best=true", "stream.validation=0"],
        "regularizer.restore_best: is decided on the validation part",
    ),
    (
        ["scheduler=plateau", "stream.validation=0"],
        "scheduler: is decided on the validation part, which is empty: set stream.validation above 0",
    ),
    (["stream.online=true", "method.closing_pass=true"], "method.closing_pass: an online stream is seen once"),
    (["stream=split", "stream.tasks=3"], "stream.tasks: 10 classes do not divide into 3 tasks (into 2 they do)"),
    (["stream=split", "stream.tasks=11"], "stream.tasks: 11 tasks, but there are only 10 classes"),
    (
        ["stream=blurred", "stream.scenario=task"],
        "stream.scenario: where boundaries are blurred no batch is of one task",
    ),
    (["stream=superclasses", "~stream.tasks"], "stream.source: digits has no superclasses"),
    (
        ["model=custom", "model.foo=3"],
        "model.foo: no such key; an argument of your own class is written +model.foo=...",
    ),
    (["dataset=parquet", "dataset.path=nowhere"], "dataset.path: there is no folder nowhere"),
    (["dataset=folder", "dataset.path=nowhere"], "dataset.path: there is no folder nowhere"),
    (["dataset=arrays", "dataset.path=nowhere"], "dataset.path: there is no file nowhere"),
    (
        ["model=convnet", "~model.hidden", "method=gpm", "method.rows={conv1:2,conv2:3,conv3:4,haed:1}"],
        "method.rows: there is no protected layer 'haed'; did you mean 'head'?",
    ),
]


@pytest.mark.parametrize(
    ("overrides", "line"),
    # What is refused where it is built, tests beside it refuse in Python: here one of each place.
    part(TOGETHER, lambda case: case[0][0].split("=")[0] in ("regularizer.early_stopping", "stream.online", "model")),
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_choices_that_do_not_go_together_are_one_line(train, tmp_path, overrides, line):
    mine = {item.split("=")[0].lstrip("~") for item in overrides}
    given = [
        item for item in TINY if item.split("=")[0] not in mine and not (item.startswith("model") and "model" in mine)
    ]
    answer = train(*given, *[item for item in overrides if not item.startswith("~")])
    assert answer.code == 2 and answer.err.startswith(f"error: {line}"), answer.err
    assert len(answer.err.strip().split("\n")) == 1 and not snapshot(tmp_path)


@pytest.mark.parametrize("name", ["LOCAL_RANK", "RANK"])
def test_a_launcher_s_variable_that_is_no_number_is_one_line(train, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "")
    answer = train(*TINY)
    assert answer.code == 2 and answer.err.startswith(f"error: {name}: the environment has ''")
    assert answer.err.count("\n") == 1 and not list(tmp_path.iterdir())
