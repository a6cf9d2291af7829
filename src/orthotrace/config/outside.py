"""Keys that go to torch and Lightning, and those at the top: types and ranges that no signature of ours says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from orthotrace.config.signatures import Argument
from orthotrace.config.values import FLOAT32

# A name or a path: 2026 is one too, and read as a number.
Text = Annotated[str, Field(min_length=1)] | int | float
Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0, le=FLOAT32)]
Share = Annotated[float, Field(ge=0, lt=1)]
Some = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None
Batches = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)] | None
# DD:HH:MM:SS, or its parts.
TIME = (
    Annotated[str, Field(pattern=r"^\d+:\d{2}:\d{2}:\d{2}$")]
    | Annotated[dict[Literal["weeks", "days", "hours", "minutes", "seconds"], Natural], Field(min_length=1)]
)


def _or_null(annotation: Any) -> Any:
    return annotation | None


# What torch's optimizers refuse, by name of the argument; others are typed by their signature.
OPTIMIZER = {
    "lr": Argument(NotNegative, meaning="learning rate"),
    "momentum": Argument(NotNegative, meaning="of the steps"),
    "dampening": Argument(float, meaning="of the momentum"),
    "nesterov": Argument(bool, meaning="Nesterov's momentum, which needs momentum above 0"),
    "weight_decay": Argument(NotNegative, meaning="times the weights is added to the gradient; of AdamW to the step"),
    "betas": Argument(tuple[Share, Share], meaning="decay of the running means of gradient and square"),
    "eps": Argument(NotNegative, meaning="added to the denominator"),
    "rho": Argument(Annotated[float, Field(ge=0, le=1)], meaning="decay of the running mean of squares"),
    "alpha": Argument(NotNegative, meaning="decay of the running mean of squares"),
    "lr_decay": Argument(NotNegative, meaning="of the learning rate, with each step"),
    "initial_accumulator_value": Argument(NotNegative, meaning="of the sum of squares"),
    "momentum_decay": Argument(NotNegative, meaning="of the momentum, with each step"),
    "centered": Argument(bool, meaning="divide by the deviation of the gradient instead of its mean square"),
    "ns_steps": Argument(Annotated[int, Field(ge=1, lt=100)]),
}

# What Lightning refuses only later, or not at all; others are typed by its signature.
TRAINER = {
    "accelerator": Argument(
        Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"],
        "auto",
        "device that trains; auto: a GPU where there is one",
    ),
    "devices": Argument(
        Literal["auto", -1]
        | Annotated[int, Field(ge=1, le=1024)]
        | Annotated[str, Field(pattern=r"^(-1|\d{1,4}(\s*,\s*\d{1,4})*,?)$")]
        | Annotated[list[Natural], Field(min_length=1)],
        "auto",
        "how many, which, or all (auto, -1)",
    ),
    "deterministic": Argument(bool | Literal["warn"] | None, None, "refuse operations that give other bits each time"),
    "gradient_clip_val": Argument(NotNegative | None, None, "largest norm, or value, of the gradients"),
    "gradient_clip_algorithm": Argument(Literal["norm", "value"] | None, None, "what is clipped"),
    "accumulate_grad_batches": Argument(Positive, 1, "batches of one step"),
    "num_nodes": Argument(Annotated[int, Field(ge=1, le=1024)], 1, "machines, each with so many devices"),
    "strategy": Argument(
        Literal[
            "auto",
            "single_device",
            "single_tpu",
            "single_xla",
            "ddp",
            "ddp_spawn",
            "ddp_fork",
            "ddp_notebook",
            "ddp_find_unused_parameters_false",
            "ddp_find_unused_parameters_true",
        ],
        "auto",
        "how several devices work together",
    ),
    "profiler": Argument(Literal["simple", "advanced", "pytorch", "xla"] | None, None),
    # A number of batches may be more than a task has.
    "val_check_interval": Argument(_or_null(Annotated[float, Field(gt=0, le=1)] | TIME), None),
    "min_epochs": Argument(Natural | None, None),
    "max_steps": Argument(Literal[-1] | Positive, -1),
    "min_steps": Argument(Natural | None, None),
    "log_every_n_steps": Argument(Natural | None, None),
    "reload_dataloaders_every_n_epochs": Argument(Natural, 0),
    "check_val_every_n_epoch": Argument(Positive | None, 1),
    # Without a batch nothing is trained.
    "limit_train_batches": Argument(Some, None),
    **{f"limit_{part}_batches": Argument(Batches, None) for part in ("val", "test", "predict")},
}

# Scores that a sweep can be chosen by.
Objective = Literal["val_acc", "acc", "aia", "bwt", "forgetting", "learning_accuracy", "seconds", "extra_memory_bytes"]
# The range of what torch and JSON take for an integer.
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
TOP = {
    "train": {
        "name": Argument(Text),
        "seed": Argument(Seed),
        "rates": Argument(dict[str, Annotated[float, Field(gt=0, le=FLOAT32)]] | None),
        "init_from": Argument(_or_null(Text)),
        "init_digest": Argument(_or_null(str)),
        "objective": Argument(Objective | Annotated[list[Objective], Field(min_length=1)]),
        "overwrite": Argument(bool),
        "on_failure": Argument(Literal["continue", "stop"]),
        "estimate": Argument(bool),
        "seeds_at_once": Argument(Annotated[int, Field(ge=1)]),
        "pruning": Argument(_or_null(Annotated[float, Field(ge=0, le=100)])),
    },
    "analyze": {
        "runs": Argument(_or_null(Text)),
        "networks": Argument(
            _or_null(
                Annotated[str, Field(min_length=1)]
                | Annotated[list[dict[str, Any]], Field(min_length=1)]
                | Annotated[dict[str, Any], Field(min_length=1)]
            )
        ),
        "groups": Argument(_or_null(Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)])),
        "out": Argument(Text),
        "name": Argument(Text),
        "where": Argument(dict[str, Any]),
        "epochs": Argument(Literal["all"] | None | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]),
        "tasks": Argument(Literal["last", "all"] | Positive | Annotated[list[Positive], Field(min_length=1)]),
        "layers": Argument(_or_null(Annotated[list[str | int], Field(min_length=1)])),
        "read": Argument(Literal["post", "pre", "module"]),
        "rdm": Argument(Annotated[str, Field(min_length=1)]),
        "measures": Argument(dict[str, Any]),
        "references": Argument(dict[str, Any]),
        "readout": Argument(bool),
        "degeneracy": Argument(bool),
        "memory": Argument(_or_null(Annotated[str, Field(min_length=1)])),
        "factors": Argument(list[Annotated[str, Field(min_length=1)]]),
        "trust": Argument(list[Annotated[str, Field(min_length=1)]]),
        "formats": Argument(list[Literal["pdf", "svg", "png"]]),
        "figures": Argument(_or_null(Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)])),
        "style": Argument(Literal["nature", "neurips", "icml", "cvpr", "slides"]),
        "labels": Argument(_or_null(Annotated[dict[str, Annotated[str, Field(min_length=1)]], Field(min_length=1)])),
        "order": Argument(list[Annotated[str, Field(min_length=1)] | int | float]),
        "facets": Argument(_or_null(Annotated[str, Field(min_length=1)])),
    },
}
Value = Annotated[str, Field(min_length=1)] | int | float | bool
WHERE = Argument(
    _or_null(Value | Annotated[list[Value], Field(min_length=1)] | Annotated[dict[str, Any], Field(min_length=1)]),
    None,
    "a value, a list of values that do, or null for all",
)

# Of ours, where a configuration gives something else than the signature takes: path -> key.
LAYER = Argument(Annotated[str, Field(min_length=1)] | int | Annotated[list[str | int], Field(min_length=1)])
ROWS_FROM = Argument(_or_null(Annotated[str, Field(min_length=1)]), None)
FEEDBACK = Argument(
    Literal["backprop", "alignment", "sign_symmetric"],
    "backprop",
    "weights by which errors go back: those of the layers; fixed random ones; the signs of those of the layers",
)
WEIGHTED = Argument(_or_null(Annotated[list[str | int], Field(min_length=1)]), None)
