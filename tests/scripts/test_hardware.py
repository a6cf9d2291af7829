"""What is measured of weights of hardware, and drawn."""

import json
from pathlib import Path

import pytest
import torch
from composed import built, composed
from omegaconf import OmegaConf

from orthotrace.config.build import write_hydra
from orthotrace.layers.quantised import COEFFICIENTS
from orthotrace.results.run_folder import Run

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROOT = SCRIPTS.parent


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


def test_the_coefficients_are_those_that_were_fitted():
    import sawb as script

    committed = {one["bits"]: one for one in json.loads((ROOT / script.RESULTS).read_text())["records"]}
    assert {bits: (one["c1"], one["c2"]) for bits, one in committed.items()} == COEFFICIENTS
    assert max(abs(value - 1) for value in committed[2]["scale_over_best"].values()) <= 0.05
    assert max(abs(value - 1) for value in committed[3]["scale_over_best"].values()) <= 0.05
    # With 4 bits no coefficients could come so near, whatever the von Mises distribution is.
    assert 0.05 < committed[4]["nearest_possible_without_von_mises"] < committed[4]["nearest_possible"]


def test_a_fit_finds_the_best_scales_and_comes_near_them(monkeypatch):
    import sawb as script

    monkeypatch.setattr(script, "POINTS", 4001)
    found = script.fit(2)
    # Max, Quantizing for Minimum Distortion, 1960, table II: 4 levels of a Gaussian, .9957 apart.
    assert found["best"]["Gaussian"] == pytest.approx(1.5 * 0.9957, abs=2e-3)
    assert found["best"]["uniform"] == pytest.approx(0.75, abs=2e-3)
    assert (found["c1"], found["c2"]) == pytest.approx(COEFFICIENTS[2], abs=0.05)
    assert found["nearest_possible"] <= max(abs(value - 1) for value in found["scale_over_best"].values()) + 1e-4


def test_rounding_is_to_levels_and_right_on_average():
    import hardware_leak as script

    values = torch.full((20_000,), 0.3, dtype=torch.float64)
    draws = torch.Generator().manual_seed(0)
    for rounding, mean in (("nearest", 1 / 3), ("stochastic", 0.3)):
        found = script.limited(values, 1.0, 2, rounding, draws)
        assert set(found.unique().round(decimals=9).tolist()) <= {-1.0, round(-1 / 3, 9), round(1 / 3, 9), 1.0}
        assert float(found.mean()) == pytest.approx(mean, abs=0.01)


@pytest.fixture(scope="module")
def setting():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        import hardware_leak as script

        patch.setattr(script, "STEPS", 20)
        yield script, script.Setting(0)


def test_a_change_that_is_rounded_leaks_as_theory_says(setting):
    script, of = setting
    assert of.leak(of.change) < 1e-12
    for rounding in script.ROUNDINGS:
        found = script.once(of, 9, rounding)
        assert found["leak"] == pytest.approx(found["expected"], rel=0.15) and found["leak"] < found["bound"]


def test_what_was_applied_leaks_one_rounding_and_projected_gradients_all(setting):
    script, of = setting
    applied, gradient = (script.always(of, 10, "stochastic", rule) for rule in script.RULES)
    assert applied["leak"] == pytest.approx(applied["expected"], rel=0.25)
    assert gradient["leak"] > 2 * applied["leak"]
    # Steps below half a level are lost.
    assert script.always(of, 4, "nearest", "applied") == {"leak": 0, "expected": 0, "bound": 0, "moved": 0}


def test_a_crossbar_leaks_as_theory_says(setting):
    script, of = setting
    few, many = (script.crossbar(of, None, noise) for noise in (0.005, 0.05))
    for found in (few, many):
        assert found["leak"] == pytest.approx(found["expected"], rel=0.15)
    assert few["leak"] < many["leak"]


def test_every_setting_was_trained_with_three_seeds():
    import quantised_mnist as script

    content = json.loads((ROOT / script.RESULTS).read_text())
    found = {(one["weights"], one["bits"], one["activation_bits"]): one for one in content["results"]}
    pairs = [(2, None), (2, 2), (4, None), (4, 4)]
    assert set(found) == {("free", None, None), ("adder", None, None), *(("sawb", *pair) for pair in pairs)}
    assert all(one["seeds"] == [0, 1, 2] == list(range(len(one["test_accuracy"]))) for one in found.values())
    assert content["setting"] == script.SETTING


def test_a_run_is_told_by_the_kind_of_its_weights(tmp_path):
    import quantised_mnist as script

    chosen = ["model=convnet", "model.channels=[2,2]", "weights=sawb", "model.weights.bits=3", "dataset.limit=9"]
    run = Run(tmp_path / "a")
    write_hydra(run.hydra, composed(*chosen), OmegaConf.create({"overrides": {"task": []}}))
    built(run, *chosen, "stream=single", "trainer.max_epochs=1", "trainer.accelerator=cpu", "method=finetune").run()
    (found,) = script.results(tmp_path)
    accuracy = found.pop("test_accuracy")
    assert found.pop("seconds") and found == {"weights": "sawb", "bits": 3, "activation_bits": None, "seeds": [0]}
    assert accuracy == [round(run.scores["acc"], 4)]


def test_all_that_was_measured_is_drawn(monkeypatch, tmp_path):
    import hardware_leak as script

    records = json.loads((ROOT / script.RESULTS).read_text())["records"]
    assert {(one["seed"], *one["cell"]) for one in records} == {
        (seed, *cell) for seed in script.SEEDS for cell in script.cells()
    }
    monkeypatch.setattr(script, "FIGURE", tmp_path / "figure.png")
    script.draw(records)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
