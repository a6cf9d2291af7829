"""Every option of every group: its keys and defaults are those of what it configures, its folder name that of 0.1."""

from __future__ import annotations

import dataclasses
import inspect
import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from composed import GROUPS, NAMED, composed
from hydra.utils import get_object
from omegaconf import OmegaConf
from part import part

from orthotrace.config.build import plain
from orthotrace.config.folder_names import run_name
from orthotrace.config.schema import check
from orthotrace.layers.concept_whitening import ConceptWhitening
from orthotrace.methods.memory import MemoryOptions
from orthotrace.training.concept_alignment import Alignment
from orthotrace.training.settings import Training

# Commands of version 0.1 -> names of their folders.
NAMES = json.loads((Path(__file__).parents[1] / "runs_of_0_1" / "names.json").read_text())
# Of these only the names are known: no class is there, and a rate has always been a number.
NEVER = ("model=custom model._target_=my.Net", "+rates.fc1.weight=0.1 logger=wandb overwrite=true")
# Experiments that were mended since, and what they were before. A run of 0.1 is none of today's command.
MENDED = {
    "experiment=split_cifar100_alexnet": ("model.statistics=running",),
    "method=trgp": ("method.rate=1.0",),
}
# What a node gets beside its own keys.
GIVEN = {
    "stream": ("source", "seed"), "model": ("shape", "classes"), "optimizer": ("params",),
    "concepts.sets": ("source",), "concepts": ("sets", "stream"), "concepts.whitening": ("channels", "concepts"),
}  # fmt: skip
# What is configured without a _target_, and the keys there that are not its arguments.
PLACES = {
    "trainer": (Training, ("accelerator", "devices", "num_nodes", "precision", "deterministic", "gradient_clip_val", "accumulate_grad_batches")),
    "concepts": (Alignment, ("layer", "sets", "whitening")),
    "concepts.whitening": (ConceptWhitening, ()),
    "method.memory": (MemoryOptions, ()),
}  # fmt: skip
# Options that cannot be chosen alone: what their commands set beside them is no default.
NEEDY = (
    "dataset=parquet",
    "dataset=arrays",
    "dataset=tensors",
    "dataset=events",
    "dataset=folder",
    "concepts=folder",
    "concepts=strokes",
    "concepts=photographs",
    "concepts=classes",
)
# Where an option is there to set another value than the default; all else must be equal.
PRESETS = {
    "augmentation=natural": ("flip", "crop"),
    "augmentation=shifts": ("shift",),
    "concepts=classes": ("classes",),
    "concepts=photographs": ("attributes",),
    "concepts=strokes": ("attributes",),
    "logger=wandb_offline": ("mode",),
    "method=er": ("size",), "method=derpp": ("size",), "method=agem": ("size",), "method=er_ace": ("size",), "method=icarl": ("size",),
    **{f"model={cell}": ("cell",) for cell in ("elman", "rnn", "lstm", "gru")},
    # Networks as they were published.
    "model=all_cnn_7": ("stages",), "model=spiking_mlp": ("hidden", "bias"), "model=spiking_resnet18": ("preactivation",),
    "model=inception": ("pool",), "model=fractal": ("pool",), "model=maxout": ("nonlinearity", "norm", "bias"),
    **{f"regularizer={name}": (name,) for name in GROUPS["regularizer"]},
    "regularizer=elastic": ("l1", "l2"),
    "regularizer=bootstrap_soft": ("bootstrap",), "regularizer=bootstrap_hard": ("bootstrap",),
    "dataset=tensors": ("layout",),
    "stream=blurred": ("scenario", "blur"), "stream=online": ("online",), "stream=repeated": ("repeats",),
    **{f"dataset={name}": ("name", "subset", "test", "image", "label", "superclass", "size", "channels")
       for name in ("cifar10", "cifar100", "fashion_mnist", "mini_imagenet", "mnist", "svhn", "tiny_imagenet")},
}  # fmt: skip


def parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Those of a function, or of a class and the classes to which it hands its options on."""
    found: dict[str, inspect.Parameter] = {}
    for one in target.__mro__[:-1] if inspect.isclass(target) else [target]:
        if not inspect.isclass(one) or "__init__" in vars(one):
            own = inspect.signature(one).parameters
            found = {**own, **found}
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in own.values()):
                break
    return found


def disagreements(node: dict[str, Any], target: Any, given: tuple[str, ...], preset: tuple[str, ...]) -> list[str]:
    """Keys that the target does not have, arguments without a value, and defaults that differ."""
    known, found = parameters(target), []
    inspect.signature(target).bind(**dict.fromkeys([*node, *given]))
    assert set(node) <= set(known)
    for key, value in node.items():
        default = known[key].default
        if default is inspect.Parameter.empty or key in preset or dataclasses.is_dataclass(default):
            continue
        if value != json.loads(json.dumps(default)):
            found.append(f"{key}: {value!r}, in Python {default!r}")
    return found


def group_of(command: str) -> str:
    return command.split("=")[0]


# One of each group; the defaults of all are below.
FIRST = {group_of(command): command for command in reversed(NAMES)}


@pytest.mark.parametrize("command", part(NAMES, FIRST.values()))
def test_the_folder_of_a_command_is_that_of_0_1(command):
    overrides = command.split()
    config = composed(*overrides, *MENDED.get(command, ()))
    assert run_name(overrides, config) == NAMES[command]
    if command not in NEVER:
        check(config, "train")


def rounds() -> list[list[str]]:
    """All options, of each group one at a time: composing takes as long for many groups as for one.

    An experiment chooses among the options, and weights are a part of a model.
    """
    needs = {command.split()[0]: command for command in NAMES if command.split()[:1] and command.split()[0] in NEEDY}
    groups = [
        [needs.get(f"{group}={option}", f"{group}={option}") for option in options if option not in NAMED]
        for group, options in GROUPS.items()
        if group not in ("experiment", "weights")
    ]
    return [[command for command in of if command] for of in zip_longest(*groups)]


@pytest.mark.parametrize("commands", rounds(), ids=lambda of: of[0])
def test_an_option_is_what_it_configures(commands):
    config = composed(*(override for command in commands for override in command.split()))
    assert not {command: found for command in commands if (found := wrong(config, command))}


def wrong(config: Any, command: str) -> list[str]:
    """What an option configures otherwise than its default, or does not have."""
    overrides, group = command.split(), group_of(command)
    found = []
    needed = tuple(one.split("=")[0].rpartition(".")[2] for one in overrides[1:])
    for path in (group, f"{group}.sets", *(place for place in PLACES if place.split(".")[0] == group)):
        node = OmegaConf.select(config, path)
        if not OmegaConf.is_dict(node):
            continue
        target, others = PLACES.get(path, (None, ()))
        if OmegaConf.select(node, "_target_") is not None:
            target = get_object(node["_target_"])
        if target is None:
            continue
        values = {key: value for key, value in plain(node).items() if key[0] != "_" and key not in others}
        # Those of torch are torch's.
        presets = tuple(values) if group == "optimizer" else PRESETS.get(overrides[0], ())
        found += disagreements(values, target, GIVEN.get(path, ()), (*presets, *needed))
    return found
