"""The script of the curves, on tiny runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parents[2]
TINY = (
    "dataset=digits",
    "dataset.limit=40",
    "model.stages=[[3],[4]]",
    "model.hidden=[6]",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import own_cifar10

    return own_cifar10


def test_results_and_figure(script, train, tmp_path):
    answer = train("--multirun", "experiment=own_cifar10", "weights=own,free", "seed=0,1", *TINY)
    assert answer.code == 0, answer.err
    found = script.results(script.RUNS)
    assert list(found) == ["free", "own"]
    for of in found.values():
        assert of["seeds"] == [0, 1] and all(0 < value <= 1 for value in of["test_accuracy"])
        assert all(len(seeds) == 2 and len(seeds[0]) == 2 for seeds in of["curves"].values())
        assert of["curves"]["train_loss"][0] != of["curves"]["train_loss"][1]
    assert found["free"]["deviation"] == {}
    assert set(found["own"]["deviation"]) == {"Linear", "Conv2d"}
    assert all(0 < value <= 1e-4 for values in found["own"]["deviation"].values() for value in values)
    script.draw(found, tmp_path / "docs" / "curves.png")
    assert imread(tmp_path / "docs" / "curves.png").shape[1] == pytest.approx(183 / 25.4 * 300, abs=2)
