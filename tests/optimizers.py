"""The optimizers of conf/, with rates that fit small networks."""

from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir

from orthotrace.config.build import build
from orthotrace.config.conf import conf_folder

# Adadelta's rate is a factor on a step that fits by itself; what is tested should move, not explode.
RATES = {"sgd": 0.5, "momentum": 0.1, "nesterov": 0.1, "adadelta": 0.5, "adagrad": 0.02}
NAMES = ["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam"]


def optimizer_of(name: str) -> Callable[..., torch.optim.Optimizer]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("train", [f"optimizer={name}", f"optimizer.lr={RATES.get(name, 0.01)}"])
    return build(config, "optimizer")


OPTIMIZERS = {name: optimizer_of(name) for name in NAMES}
