"""Runs of two processes: whole, and cut within a task and continued.

For the tests, some of them; for make chaos, all. The runs of a pair share its processes, which take longer to start.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.multiprocessing as mp
from composed import GROUPS, KEYS, MEMORY, Copying, built

from orthotrace.results.run_folder import Run

# Batches of 512 and a remainder of 81; the Hebbian rule has rows that wait at the end of an epoch.
SMALL = ("stream=permuted", "stream.tasks=2", "trainer.max_epochs=3", "trainer.batch_size=512", "trainer.save_every=0",
         "trainer.accelerator=cpu", "trainer.devices=2")  # fmt: skip
BUSY = ("regularizer.dropout=.1", "regularizer.dropconnect=.1", "regularizer.input_noise=.1", "augmentation.shift=1",
        "scheduler=cosine")  # fmt: skip
CONVOLUTIONS = ("model=convnet", "model.channels=[3,4]")
CONCEPTS = (*CONVOLUTIONS, "concepts=classes", "concepts.layer=bn1", "concepts.sets.classes=[0]", "concepts.every=2")


def of_method(method: str) -> list[str]:
    rows = ["method.rows=2"] if "rows" in KEYS[method] else []
    return [f"method={method}", *rows, *(["method.alpha=.1"] if method == "owm" else [])]


METHODS = [method for method in GROUPS["method"] if method not in MEMORY]
CASES = {
    **{method: [*of_method(method), "model.hidden=[8]", *BUSY] for method in METHODS},
    **{f"{method}, convolutions": [*of_method(method), *CONVOLUTIONS, "regularizer.average=.9"] for method in METHODS},
    "trgp, all regions": [*of_method("trgp"), "model.hidden=[8]", "method.threshold=0", "method.rate=.1"],
    "gpm, complement": [*of_method("gpm"), "model.hidden=[8]", "method.complement=true"],
    "hlop, the paper's rule": [*of_method("hlop"), "model.hidden=[8]", "method.step=1", "method.start_epoch=2"],
    "hlop, a closing pass": [*of_method("hlop"), "model.hidden=[8]", "method.closing_pass=true"],
    "normalisation by task": [*of_method("gpm"), *CONVOLUTIONS, "method.normalisation=task", "stream.scenario=task"],
    **{f"weights {kind}": [*of_method("finetune"), *CONVOLUTIONS, f"weights={kind}"] for kind in GROUPS["weights"]},
    "learned scales": [*of_method("finetune"), *CONVOLUTIONS, "weights=own", "model.weights.learn_scale=true"],
    "concepts": [*of_method("finetune"), *CONCEPTS],
    "concepts, hlop": [*of_method("hlop"), *CONCEPTS],
    "concepts, trained": [*of_method("finetune"), *CONCEPTS, "concepts.whitening.rotation=trained"],
    "concepts, newton": [*of_method("finetune"), *CONCEPTS, "concepts.whitening.solver=newton"],
    **{f"scheduler {name}": [*of_method("finetune"), "model.hidden=[8]", f"scheduler={name}",
                               *(["scheduler.every=1"] if name == "step" else [])]
       for name in GROUPS["scheduler"]},
    **{f"regularizer {name}": [*of_method("finetune"), *CONVOLUTIONS, f"regularizer={name}"]
       for name in GROUPS["regularizer"]},
    "plateau and statistics": [*of_method("finetune"), *CONVOLUTIONS, "scheduler=plateau", "scheduler.patience=0",
                               "optimizer.lr=.5"],
    "early stopping and statistics": [*of_method("finetune"), *CONVOLUTIONS, "regularizer.early_stopping=1",
                                      "optimizer.lr=.5"],
}  # fmt: skip


def _work(rank: int, port: int, names: Sequence[str], folder: Path, continued: bool) -> None:
    """One process of a pair: its state at the end of every run, or why there is none."""
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    warnings.simplefilter("ignore")
    sys.stderr = sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    for name in names:
        place = folder / name
        whole, cut = Run(place / "whole"), Run(place / "cut")
        tracker = None if continued or rank else Copying(whole, cut, task=1 + names.index(name) % 2)
        found: dict[str, object] = {}
        try:
            experiment = built(cut if continued else whole, *SMALL, *CASES[name], tracker=tracker)
            experiment.run()
            found = dict(experiment.learner.state_dict())
        except Exception:
            found = {"error": traceback.format_exc()}
        place.mkdir(parents=True, exist_ok=True)
        torch.save(found, place / f"{'cut' if continued else 'whole'}{rank}.pt")
        if "error" in found:
            # The other process may wait for this one.
            os._exit(1)
    torch.distributed.destroy_process_group()


def pair(names: Sequence[str], folder: Path, continued: bool) -> None:
    """Train the cases in two processes, or continue their copies."""
    multiprocessing.set_forkserver_preload(["orthotrace.training.experiment", "orthotrace.cli.train", "hydra.main"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_work, (port, names, folder, continued), nprocs=2, start_method="forkserver")


def differences(name: str, folder: Path) -> list[str]:
    """What differs between the two processes of a run, and between it and the one that was continued."""
    place = folder / name
    found = {key: torch.load(place / f"{key}.pt") for key in ("whole0", "whole1", "cut0", "cut1")}
    lines = []
    for one, other in (("whole0", "whole1"), ("whole0", "cut0"), ("whole1", "cut1")):
        a, b = found[one], found[other]
        lines += [f"{one} {other} {key}: only one" for key in sorted(a.keys() ^ b.keys())]
        lines += [f"{one} {other} {key}" for key in sorted(a.keys() & b.keys()) if not same(a[key], b[key])]
    whole, cut = Run(place / "whole"), Run(place / "cut")
    if {**whole.scores, "seconds": 0} != {**cut.scores, "seconds": 0}:
        lines.append("scores")
    return lines


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
