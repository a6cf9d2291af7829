"""What torch and Lightning take: values at the ends of every range, and beside them."""

from __future__ import annotations

import pytest

from orthotrace.config.outside import OPTIMIZER, ROWS_FROM, TOP, TRAINER, WHERE
from orthotrace.core.errors import UserError

KEYS = {
    **{f"optimizer.{key}": one for key, one in OPTIMIZER.items()},
    **{f"trainer.{key}": one for key, one in TRAINER.items()},
    **{f"{name}.{key}": one for name, keys in TOP.items() for key, one in keys.items()},
    "where.key": WHERE,
    "rows_from": ROWS_FROM,
}
TINY, HUGE = 1e-30, 3.5e38
NOT_NEGATIVE = ([0, 0.5, 3e38], [-TINY, HUGE, "x", None])
BATCHES = ([0, 1, 7, 0.0, 0.5, 1.0, None], [-1, -0.5, 1.5, "x"])
NATURAL = ([0, 5], [-1, 0.5, "x"])
NAMES = (["a", 2026, 0.5], ["", None, [], {}])
TIMES = (
    ["00:12:00:00", {"hours": 2}, {"weeks": 1, "minutes": 0}, None],
    ["12:00", "x", {"hours": -1}, {}, {"hour": 2}],
)
# Key -> what is taken, and what is refused.
ENDS: dict[str, tuple[list, list]] = {
    **dict.fromkeys(
        [f"optimizer.{key}" for key in ("lr", "momentum", "weight_decay", "eps", "alpha", "lr_decay",
                                        "initial_accumulator_value", "momentum_decay")], NOT_NEGATIVE),
    "optimizer.dampening": ([-1, 0.5], ["x", None]),
    "optimizer.nesterov": ([True, False], ["", 0, "true"]),
    "optimizer.centered": ([True, False], ["", 0, "true"]),
    "optimizer.betas": ([[0, 0], [0.9, 0.999]], [[1, 0.5], [0.5, 1.0], [-0.1, 0.5], [0.5], [0.1, 0.1, 0.1], 0.5]),
    "optimizer.rho": ([0, 1, 0.5], [-TINY, 1.001, "x"]),
    "optimizer.ns_steps": ([1, 99], [0, 100, 1.5]),
    "trainer.accelerator": (["auto", "cpu", "gpu"], ["x", None, 1]),
    "trainer.devices": (["auto", -1, 1, 1024, "-1", "0", "0, 1", "3,", [0], [0, 1]],
                        [0, -2, 1025, "x", "0-1", [], [-1], 1.5, None]),
    "trainer.num_nodes": ([1, 1024], [0, 1025, 1.5]),
    "trainer.deterministic": ([True, False, "warn", None], ["x", 1]),
    "trainer.gradient_clip_val": ([0, 0.5, None], [-TINY, HUGE, "x"]),
    "trainer.gradient_clip_algorithm": (["norm", "value", None], ["x", 1]),
    "trainer.accumulate_grad_batches": ([1, 9], [0, 1.5, None]),
    "trainer.strategy": (["auto", "ddp"], ["x", None]),
    "trainer.profiler": (["simple", None], ["x", 1]),
    "trainer.val_check_interval": ([0.5, 1.0, *TIMES[0]], [0, 0.0, 1.5, -1, *TIMES[1]]),
    "trainer.min_epochs": ([*NATURAL[0], None], NATURAL[1]),
    "trainer.max_steps": ([-1, 1, 5], [-2, 0, 0.5, None]),
    "trainer.min_steps": ([*NATURAL[0], None], NATURAL[1]),
    "trainer.log_every_n_steps": ([*NATURAL[0], None], NATURAL[1]),
    "trainer.reload_dataloaders_every_n_epochs": NATURAL,
    "trainer.check_val_every_n_epoch": ([1, None], [0, -1, 0.5]),
    "trainer.limit_train_batches": ([1, 7, 0.5, 1.0, None], [0, 0.0, -1, 1.5, "x"]),
    **{f"trainer.limit_{part}_batches": BATCHES for part in ("val", "test", "predict")},
    "train.name": NAMES,
    "train.seed": ([-(2**63), 0, 2**63 - 1], [2**63, -(2**63) - 1, 0.5, "x", True]),
    "train.rates": ([None, {}, {"fc1": TINY}, {"fc1": 3e38}], [{"fc1": 0}, {"fc1": -1}, {"fc1": HUGE}, 1]),
    "train.overwrite": ([True, False], ["no", 0, None]),
    "analyze.runs": (["a", 2026, 0.5, None], ["", [], {}]),
    "analyze.networks": ([None, "a.yaml", [{"model": "a.B"}], {"a": {"model": "b"}}], ["", [], {}, ["a.yaml"], 3]),
    "analyze.groups": ([None, ["kind"]], [[], "kind", [""], [3]]),
    "analyze.out": NAMES,
    "analyze.name": NAMES,
    "analyze.where": ([{}, {"seed": [0, 1]}], [None, "x", []]),
    "analyze.tasks": (["last", "all", 1, [1, 2]], [0, "first", [], [0], 1.5, None]),
    "analyze.epochs": ([None, "all", [0], [1, 2]], ["last", [], [-1], 1, [0.5]]),
    "analyze.layers": ([None, ["fc1", 3]], [[], "fc1", [0.5]]),
    "analyze.rdm": (["correlation"], ["", [], None]),
    "analyze.measures": ([{}], [None, []]),
    "analyze.references": ([{}], [None, []]),
    "train.init_from": ([None, "runs/a", 2026], ["", True, []]),
    "train.init_digest": ([None, "0f"], [1, True]),
    "train.objective": (["val_acc", "seconds", ["acc", "extra_memory_bytes"]], ["accuracy", None, [], ["x"], 1]),
    "train.estimate": ([True, False], ["yes", 1, None]),
    "train.pruning": ([None, 0, 50, 99.5, 100], [-1, 101, "median", True, [50]]),
    "train.seeds_at_once": ([1, 20], [0, -1, 1.5, "auto", None, True]),
    "train.on_failure": (["continue", "stop"], ["never", None, True]),
    "analyze.trust": ([[], ["mine"]], [[""], "mine", None]),
    "analyze.formats": ([[], ["pdf", "svg", "png"]], [["gif"], "pdf", None]),
    "analyze.style": (["nature", "slides"], ["science", None, 1]),
    "analyze.readout": ([True, False], ["yes", 0, None]),
    "analyze.degeneracy": ([True, False], ["yes", 0, None]),
    "analyze.memory": ([None, "8GB"], ["", 8, []]),
    "analyze.factors": ([[], ["seeds.init"], ["method:seeds.init", "task"]], [[""], "method", None, [3]]),
    "analyze.figures": ([None, ["consistency"]], [[], "consistency", [""], [3]]),
    "analyze.read": (["post", "pre", "module"], ["after", None, True]),
    "analyze.labels": ([None, {"gpm": "GPM"}], [{}, {"gpm": ""}, "gpm", {"gpm": 1}]),
    "analyze.order": ([[], ["gpm", 1, 0.5]], [[""], "gpm", None]),
    "analyze.facets": ([None, "stream.scenario"], ["", 1, []]),
    "where.key": ([None, "a", 1, 0.5, True, ["a", 1], {"lr": 1}], ["", [], {}, [""]]),
    "rows_from": ([None, "runs"], ["", 1]),
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_ends_of_ranges(key):
    taken, refused = ENDS[key]
    for value in taken:
        KEYS[key].check(value, key)
    for value in refused:
        with pytest.raises(UserError) as line:
            KEYS[key].check(value, key)
        assert str(line.value.key).startswith(key) and "\n" not in str(line.value), value
