"""Runs past one process, as real launchers start them, against undisturbed ones: make clusters.

    python scripts/clusters.py [PART ...] [--ray PYTHON]

Parts: slurm (6 jobs of a multirun by submitit; two are requeued by scontrol, and the longest come to their time limit),
local (6 jobs by submitit_local, two of which hear its signal), ray (6 jobs on two workers, by the Python of an
environment with orthotrace[ray]), batch (the scripts of docs/clusters.md: a job that is requeued, and an array),
processes (two processes by srun, torchrun and Lightning, for each method with a subspace), search (20 trials of
Optuna), overhead (200 tiny runs by joblib). Those whose programs are missing are named and left out. Results go to
scripts/results/clusters.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from records import read_record, write_record
from slurm_node import missing, slurm

from orthotrace.results.run_folder import Run, find

RESULTS = Path(__file__).with_name("results") / "clusters.json"
BIN = Path(sys.executable).parent
TINY = ("stream.tasks=2", "model.hidden=[64]", "dataset=digits")
# Methods with a subspace, and what the shortest run of each needs.
METHODS = {
    **dict.fromkeys(("gpm", "hlop", "owm", "nscl", "sgp", "trgp", "cuber", "codecl", "duncker"), ()),
    **dict.fromkeys(("inflora", "splitlora", "eblora"), ("weights=lora",)),
}


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of the commands: one thread each."""
    given = {**os.environ, **(more or {})}
    return {**given, "OMP_NUM_THREADS": "1", "PATH": f"{BIN}:{given['PATH']}"}


def train(*words: str, cwd: Path, program: Sequence[str] = ("orthotrace-train",), **more: str) -> str:
    """A command to its end; what it prints."""
    done = subprocess.run(
        [*program, *words], cwd=cwd, env=environment(more), capture_output=True, text=True, timeout=1500, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def states(run: Run) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint of a run."""
    return dict(torch.load(run.last, weights_only=True)["state_dict"])


def same(one: Run, other: Run) -> bool:
    """Whether two runs came to the same bits and scores."""
    left, right = states(one), states(other)
    tensors = left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    return tensors and one.scores["accuracy"] == other.scores["accuracy"]


def same_runs(folder: Path, reference: Path) -> int:
    """How many runs of a folder are as those of another one; the hash of a folder's name knows that of the study."""
    others = {run.folder.name.rpartition("-")[0]: run for run in find(reference)}
    return sum(same(run, others[run.folder.name.rpartition("-")[0]]) for run in find(folder))


def epochs_of(seconds: float, cwd: Path) -> int:
    """Epochs of a task with which a run takes so many seconds here."""
    train("method=gpm", *TINY, "trainer.max_epochs=20", "hydra.run.dir=timed", cwd=cwd)
    taken = sum(Run(cwd / "timed").scores["seconds"])
    return max(int(20 * seconds / taken), 4)


class Sweep:
    """A multirun of six jobs, three of them long, and the same without a disturbance."""

    def __init__(self, folder: Path, short: float, long: float) -> None:
        self.folder = folder
        lengths = sorted({epochs_of(seconds, folder) for seconds in (short, long)})
        self.words = (
            "method=gpm", *TINY, f"trainer.max_epochs={','.join(map(str, lengths))}", "seed=0,1,2",
            "trainer.save_every=2",
        )  # fmt: skip
        joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        train("--multirun", *joblib, *self.words, "name=reference", cwd=folder)

    def start(
        self, name: str, *words: str, more: Mapping[str, str] | None = None, python: Path | None = None
    ) -> subprocess.Popen[str]:
        """The multirun under a launcher."""
        program = (BIN if python is None else python.parent) / "orthotrace-train"
        return subprocess.Popen(
            [str(program), "--multirun", *words, *self.words, f"name={name}"], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(more),
        )  # fmt: skip

    def compared(self, name: str, process: subprocess.Popen[str], timeout: float) -> dict[str, Any]:
        """What it came to."""
        start = time.monotonic()
        out, _ = process.communicate(timeout=timeout)
        runs = find(self.folder / "runs" / name)
        table = [line for line in out.splitlines() if re.search(r"│ gpm, .*│ 3 ", line)]
        return {
            "jobs": 6,
            "code": process.returncode,
            "finished": sum(run.finished for run in runs),
            "same bits": same_runs(self.folder / "runs" / name, self.folder / "runs" / "reference"),
            "settings in the table": len(table),
            "seconds after the disturbances": round(time.monotonic() - start),
        }


def waited(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What a condition gives as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("nothing came of it")
        time.sleep(0.2)
    return found


def running(folder: Path, number: int) -> list[int]:
    """Of a folder of submitit the jobs by number that train, once there are so many."""
    found = [
        int(re.sub(r"\D", "", path.parent.name.rpartition("_")[2]))
        for path in folder.glob(".submitit/*/*_log.out")
        if " task 1/" in (text := path.read_text()) and " ACC " not in text
    ]
    return sorted(found) if len(found) >= number else []


def held_by_slurm(variables: Mapping[str, str]) -> set[int]:
    """Jobs of arrays by number that Slurm runs now."""
    words = ["squeue", "--noheader", "--states=RUNNING", "--format=%K"]
    text = subprocess.run(words, env=environment(variables), check=True, capture_output=True, text=True).stdout
    return {int(number) for number in text.split() if number.isdigit()}


def two_of(jobs: set[int]) -> list[int]:
    """The first two, once there are so many."""
    return sorted(jobs)[:2] if len(jobs) > 1 else []


def slurm_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Six jobs of Slurm: two are requeued, the long ones come to their time limit."""
    with slurm(folder / "slurm") as variables:
        sweep = Sweep(folder, short=12, long=60)
        place = folder / "runs" / "slurm"
        limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=60")
        process = sweep.start("slurm", "hydra/launcher=submitit_slurm", *limits, more=variables)
        # A job that waits to be started again has lines of its training too: Slurm says which of them run.
        jobs = waited(lambda: two_of(set(running(place, 1)) & held_by_slurm(variables)))
        listed = json.loads(subprocess.run(
            ["orthotrace-runs", str(place), "--json"], capture_output=True, text=True, check=True,
            env=environment(variables),
        ).stdout)  # fmt: skip
        array = next(path.name.partition("_")[0] for path in place.glob(".submitit/*_*"))
        for job in jobs:
            subprocess.run(["scontrol", "requeue", f"{array}_{job}"], check=True, env=environment(variables))
        found = sweep.compared("slurm", process, 1500)
        text = "".join(path.read_text() for path in place.glob(".submitit/*/*_log.*"))
        return {
            "listed while it ran": sorted({one["state"] for one in listed}),
            "requeued by scontrol": len(jobs),
            "requeued at the time limit": text.count("Requeued job"),
            **found,
        }


def local_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Six jobs by submitit on this machine, two of which are told that their time is up."""
    sweep = Sweep(folder, short=8, long=25)
    place = folder / "runs" / "local"
    process = sweep.start("local", "hydra/launcher=submitit_local")
    jobs = waited(lambda: running(place, 2))[:2]
    for job in jobs:
        subprocess.run(["pkill", "-USR2", "-P", str(job)], check=True)
    found = sweep.compared("local", process, 900)
    text = "".join(path.read_text() for path in place.glob(".submitit/*/*_log.*"))
    return {"signals": len(jobs), "requeued": text.count("Requeued job"), **found}


def ray_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Six jobs on a cluster of two workers."""
    sweep = Sweep(folder, short=2, long=6)
    words = ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2")
    return sweep.compared("ray", sweep.start("ray", *words, python=arguments.ray), 900)


def batch_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The script of docs/clusters.md: its job is requeued, and later told that its time is nearly up."""
    page = (Path(__file__).parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")
    scripts = re.findall(r"```bash\n(#!.*?)```", page, re.S)
    script = next(text for text in scripts if "scontrol requeue" in text)
    words = f"method=gpm {' '.join(TINY)} trainer.max_epochs={epochs_of(40, folder)} trainer.save_every=2"
    script = re.sub(r"orthotrace-train .*", f"orthotrace-train {words} hydra.run.dir=batch", script)
    script = re.sub(r"(?m)^#SBATCH --(time|gpus).*\n", "", script).replace("#!/bin/bash", "#!/bin/bash\n#SBATCH -n 1")
    (folder / "job.sh").write_text(script)
    train(*words.split(), "hydra.run.dir=whole", cwd=folder)
    with slurm(folder / "slurm") as variables:
        env = environment(variables)
        done = subprocess.run(["sbatch", "--parsable", "job.sh"], cwd=folder, env=env, capture_output=True, text=True)
        job, run = done.stdout.strip(), Run(folder / "batch")
        waited(lambda: run.scores_file.is_file() and run.metrics_file.read_text().count("\n") > 3)
        subprocess.run(["scontrol", "requeue", job], check=True, env=env)
        log = folder / f"slurm-{job}.out"
        # Some two minutes later it starts again.
        waited(lambda: "task 1" in log.read_text(), 400)
        subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True, env=env)
        waited(lambda: "(continued" in log.read_text(), 600)
        text = log.read_text()
        array = re.sub(r"--array=0-9", "--array=0-2\n#SBATCH -n 1", next(one for one in scripts if "--array" in one))
        (folder / "array.sh").write_text(array.replace("name=array", "name=array trainer.max_epochs=1"))
        subprocess.run(["sbatch", "--wait", "array.sh"], check=True, cwd=folder, env=env, capture_output=True)
    return {
        "interrupted": text.count("interrupted: "),
        "same bits": int(same(run, Run(folder / "whole"))),
        "runs of the array": sum(one.finished for one in find(folder / "runs" / "array")),
    }


def processes_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Two processes by three launchers come to the same."""
    found: dict[str, Any] = {}
    two = ("trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=1")
    torchrun = (str(BIN / "torchrun"), "--nproc-per-node=2", str(BIN / "orthotrace-train"))
    with slurm(folder / "slurm") as variables:
        for method, more in METHODS.items():
            words = (f"method={method}", *TINY, *two, *more)
            train(*words, f"hydra.run.dir={method}-lightning", cwd=folder)
            train(*words, f"hydra.run.dir={method}-torchrun", cwd=folder, program=torchrun)
            srun = ("srun", "--ntasks=2", "orthotrace-train")
            train(*words, f"hydra.run.dir={method}-srun", cwd=folder, program=srun, **variables)
            runs = [Run(folder / f"{method}-{name}") for name in ("lightning", "torchrun", "srun")]
            found[method] = {"same bits": sum(same(runs[0], run) for run in runs[1:]), "of": 2}
            print(method, found[method], flush=True)
    return found


def search_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Twenty trials, and the best once more from its file."""
    words = ("method=gpm", "experiment=digits", "stream.tasks=3", "trainer.max_epochs=2")
    space = ("method.energy=interval(.5,.999)", "optimizer.lr=tag(log,interval(.001,.3))")
    start = time.monotonic()
    train("--multirun", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=20", *words, *space, "name=search", cwd=folder)
    seconds = time.monotonic() - start
    runs = find(folder / "runs" / "search")
    best = max(run.scores["val_acc"] for run in runs)
    train("--config-dir", "runs/search", "experiment=best", "hydra.run.dir=again", cwd=folder)
    again = Run(folder / "again")
    chosen = next(run for run in runs if run.scores["val_acc"] == best)
    return {
        "trials": len(runs),
        "best": round(best, 4),
        "worst": round(min(run.scores["val_acc"] for run in runs), 4),
        "again": round(again.scores["val_acc"], 4),
        "same bits": int(same(chosen, again)),
        "seconds": round(seconds),
    }


def overhead_part(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Two hundred tiny runs on two cores: what a job costs beyond its training."""
    words = ("method=finetune", "stream.tasks=1", "trainer.max_epochs=1", "model.hidden=[64]", "name=tiny")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=range(200)")
    start = time.time()
    train("--multirun", *joblib, *words, cwd=folder)
    seconds = time.time() - start
    runs = find(folder / "runs" / "tiny")
    ends = sorted(run.scores_file.stat().st_mtime for run in runs)
    # Of two workers every other end is the same one's, mostly.
    jobs = [later - sooner for sooner, later in zip(ends, ends[2:], strict=False)]
    trained = [sum(run.scores["seconds"]) for run in runs]
    return {
        "runs": len(runs),
        "seconds": round(seconds, 1),
        "seconds to the first end": round(ends[0] - start, 1),
        "median seconds of a job": round(statistics.median(jobs), 3),
        "median seconds of training": round(statistics.median(trained), 3),
        "median seconds beyond": round(statistics.median(jobs) - statistics.median(trained), 3),
    }


PARTS = {
    "slurm": slurm_part,
    "local": local_part,
    "ray": ray_part,
    "batch": batch_part,
    "processes": processes_part,
    "search": search_part,
    "overhead": overhead_part,
}


def main() -> None:
    """The parts that this machine can run, one after another; each result is written when it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--ray", type=Path, help="the Python of an environment with orthotrace[ray]")
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        if name in ("slurm", "batch", "processes") and (lacking := missing()):
            print(f"{name}: left out, there is no {', '.join(lacking)}: install slurm-wlm and munge", flush=True)
            continue
        if name == "ray" and arguments.ray is None:
            print("ray: left out, give --ray PYTHON", flush=True)
            continue
        folder = Path(tempfile.mkdtemp(prefix=f"ot-{name}-"))
        found = PARTS[name](folder, arguments)
        print(name, json.dumps(found), flush=True)
        content = read_record(RESULTS) if RESULTS.is_file() else {}
        content["command"] = "make clusters"
        content["machine"] = f"{os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}"
        write_record(RESULTS, content | {name: found})
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
