"""The optimizers of conf/, with rates that fit small networks."""

from collections.abc import Callable

import torch
from omegaconf import OmegaConf

from orthotrace.config.build import build
from orthotrace.config.keys import known_keys

# Adadelta's rate is a factor on a step that fits by itself; what is tested should move, not explode.
RATES = {"sgd": 0.5, "momentum": 0.1, "nesterov": 0.1, "adadelta": 0.5, "adagrad": 0.02}
NAMES = ["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam"]


def optimizer_of(name: str) -> Callable[..., torch.optim.Optimizer]:
    # From the files: to compose them takes longer than most tests that need one.
    config = known_keys("train", {"optimizer": name})["optimizer"] | {"lr": RATES.get(name, 0.01)}
    return build(OmegaConf.create({"optimizer": config}), "optimizer")


OPTIMIZERS = {name: optimizer_of(name) for name in NAMES}
