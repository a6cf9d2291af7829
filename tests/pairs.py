"""Cases of runs of two processes, and where they are cut: for the tests, some of them; for make chaos, all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from composed import ADAPTED, ADAPTERS, GROUPS, KEYS, MEMORY

# Batches of 512 and a remainder of 81; the Hebbian rule has rows that wait at the end of an epoch.
SMALL = ("stream=permuted", "stream.tasks=2", "trainer.max_epochs=3", "trainer.batch_size=512", "trainer.save_every=0",
         "trainer.accelerator=cpu", "trainer.devices=2")  # fmt: skip
BUSY = ("regularizer.dropout=.1", "regularizer.dropconnect=.1", "regularizer.input_noise=.1", "augmentation.shift=1",
        "scheduler=cosine")  # fmt: skip
CONVOLUTIONS = ("model=convnet", "model.channels=[3,4]")
CONCEPTS = (*CONVOLUTIONS, "concepts=classes", "concepts.layer=bn1", "concepts.sets.classes=[0]", "concepts.every=2")
# Task and epoch: all but the first one, before which there is no checkpoint.
PLACES = [(1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


def of_method(method: str) -> list[str]:
    rows = ["method.rows=2"] if "rows" in KEYS[method] else []
    own = ADAPTED if method in ADAPTERS else ["method.alpha=.1"] if method == "owm" else []
    return [f"method={method}", *rows, *own]


METHODS = [method for method in GROUPS["method"] if method not in MEMORY]
CASES = {
    **{method: [*of_method(method), "model.hidden=[8]", *BUSY] for method in METHODS},
    **{f"{method}, convolutions": [*of_method(method), *CONVOLUTIONS, "regularizer.average=.9"]
       # Convolutions take no adapters.
       for method in METHODS if method not in ADAPTERS},
    "api, all layers": [*of_method("api"), "model.hidden=[8]", "method.threshold=1"],
    "trgp, all regions": [*of_method("trgp"), "model.hidden=[8]", "method.threshold=0", "method.rate=.1"],
    "gpm, complement": [*of_method("gpm"), "model.hidden=[8]", "method.complement=true"],
    "hlop, the paper's rule": [*of_method("hlop"), "model.hidden=[8]", "method.step=1", "method.start_epoch=2"],
    "hlop, a closing pass": [*of_method("hlop"), "model.hidden=[8]", "method.closing_pass=true"],
    "normalisation by task": [*of_method("gpm"), *CONVOLUTIONS, "method.normalisation=task", "stream.scenario=task"],
    **{f"weights {kind}": [*of_method("finetune"), *CONVOLUTIONS, f"weights={kind}"] for kind in GROUPS["weights"]
       if kind not in ("rbm_init", "lora")},
    "weights lora": [*of_method("finetune"), "model.hidden=[8]", *ADAPTED],
    "weights rbm_init": [*of_method("finetune"), "model.hidden=[8]", "weights=rbm_init", "model.weights.epochs=1"],
    "learned scales": [*of_method("finetune"), *CONVOLUTIONS, "weights=own", "model.weights.learn_scale=true"],
    "resnet": [*of_method("gpm"), "model=resnet18", "model.channels=2"],
    **{f"spiking, {way}": [*of_method("hlop"), "model=spiking_mlp", "model.hidden=[8]", "model.steps=3",
                           f"model.learning={way}"] for way in ("dsr", "bptt", "ottt")},
    "whitening": [*of_method("finetune"), "model=custom", "model._target_=paired.Whitened", "regularizer.average=.9"],
    "whitening, gpm": [*of_method("gpm"), "model=custom", "model._target_=paired.Whitened"],
    "concepts": [*of_method("finetune"), *CONCEPTS],
    "concepts, hlop": [*of_method("hlop"), *CONCEPTS],
    "concepts, trained": [*of_method("finetune"), *CONCEPTS, "concepts.whitening.rotation=trained"],
    "concepts, newton": [*of_method("finetune"), *CONCEPTS, "concepts.whitening.solver=newton"],
    **{f"scheduler {name}": [*of_method("finetune"), "model.hidden=[8]", f"scheduler={name}",
                               *(["scheduler.every=1"] if name == "step" else [])]
       for name in GROUPS["scheduler"] if name != "range_test"},
    **{f"regularizer {name}": [*of_method("finetune"), *CONVOLUTIONS, f"regularizer={name}"]
       for name in GROUPS["regularizer"]},
    "plateau and statistics": [*of_method("finetune"), *CONVOLUTIONS, "scheduler=plateau", "scheduler.patience=0",
                               "optimizer.lr=.5"],
    "early stopping and statistics": [*of_method("finetune"), *CONVOLUTIONS, "regularizer.early_stopping=1",
                                      "optimizer.lr=.5"],
}  # fmt: skip


def places_of(name: str, number: int, seed: int = 0) -> list[tuple[int, int]]:
    """Where a case is cut: at the end of a task, in the first or the second by its place in the list, then elsewhere."""
    first = (1 + list(CASES).index(name) % 2, 3)
    draws = random.Random(f"{seed} {name}")
    return [first, *draws.sample([place for place in PLACES if place != first], number - 1)]


def chosen(names: Sequence[str], cuts: int, seed: int = 0) -> dict[str, Any]:
    """What the two processes are told of some cases: their overrides, and where each is cut."""
    return {
        "cases": {name: [*SMALL, *CASES[name]] for name in names},
        "places": {name: places_of(name, cuts, seed) for name in names},
    }
