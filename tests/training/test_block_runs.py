"""Every description of a network trains under a guard, and without one."""

import pytest
from composed import GROUPS, built, check_scores
from part import part

from orthotrace.config.conf import conf_folder
from orthotrace.results.run_folder import Run

OPTIONS = [name for name in GROUPS["model"] if "BlockNet" in (conf_folder() / "model" / f"{name}.yaml").read_text()]
SMALL = (
    "stream=permuted", "stream.tasks=2", "dataset.limit=4", "trainer.max_epochs=1", "trainer.batch_size=20",
    "trainer.accelerator=cpu", "model.width=.25",
)  # fmt: skip


@pytest.mark.parametrize(
    ("option", "method"),
    part([(option, method) for option in OPTIONS for method in ("finetune", "gpm")], lambda case: case[1] == "gpm"),
)
def test_a_description_trains(tmp_path, option, method):
    run = Run(tmp_path / "run")
    rows = ["method.rows=1"] if method == "gpm" else []
    assert built(run, f"model={option}", f"method={method}", *rows, *SMALL).run().finished
    check_scores(run.scores)
    assert method == "finetune" or max(run.scores["leak"]) < 1e-6


def test_the_descriptions_are_found():
    assert {"blocks", "fractal", "inception", "inverted", "maxout", "separable"} <= set(OPTIONS)
