"""What is measured by scripts of their own, and drawn."""

import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROOT = SCRIPTS.parent


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


def test_the_cost_of_a_step_is_measured_at_every_value_and_drawn(monkeypatch, tmp_path):
    import scaling_training as script

    committed = json.loads((ROOT / script.RESULTS).read_text())["records"]
    values = dict(zip(script.LABELS, (script.TASKS, script.WIDTHS, script.ROWS), strict=True))
    assert {(one["axis"], one["value"]) for one in committed} == {
        (axis, value) for axis, of in values.items() for value in of
    }
    monkeypatch.setattr(script, "FIGURE", tmp_path / "figure.png")
    script.draw(committed)
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_record_of_a_step_is_of_the_rows_that_are_held(monkeypatch):
    import scaling_training as script

    monkeypatch.setattr(script, "ROUNDS", 1)
    small, large = ({one["method"]: one for one in script.measure("rows", rows)} for rows in (0, 192))
    assert set(small) == {"gpm", "hlop"}
    for name, one in small.items():
        # 64 rows of the images, 192 of each of the two layers after it: of 64 and 256 numbers.
        grown = (64 * 64 + 2 * 192 * 256) * 4 / 2**20
        assert large[name]["kept_mb"] - one["kept_mb"] == pytest.approx(grown, abs=2e-3)
        assert one["ratio"] > 0 and one["range"][0] <= one["ratio"] <= one["range"][1]


def test_memory_beyond_the_plain_script_is_what_nobody_has_stated(monkeypatch):
    import benchmark_memory as script

    asked = []

    def printed(*command):
        asked.append(command)
        return str(100 * 1024) if command[0] == "-c" else json.dumps({"peak_mb": 260.5, "stated_mb": 20.0})

    monkeypatch.setattr(script, "_printed", printed)
    (one,) = script.memory((8,), ("gpm",))
    assert one["beyond_mb"] == 140.5 and one["peer_peak_mb"] == 100.0 and one["ours_peak_mb"] == 260.5
    assert asked[0][:3] == ("-c", script.PLAIN, 8) and asked[1][1:] == ("gpm", 8)


def test_a_run_says_what_its_method_keeps(monkeypatch):
    import benchmark_memory as script

    found = script.run("gpm", 512)
    # In float32 the starts of three layers, with their biases, and the rows held after two tasks.
    starts = 512 * 65 + 512 * 513 + 10 * 513
    rows = 40 * 64 + 80 * 512 + 80 * 512
    assert found["stated_mb"] == pytest.approx((starts + rows) * 4 / 2**20, abs=0.06)
    assert found["peak_mb"] > 100


def test_the_load_of_a_memory_that_fails_is_between_two_that_were_measured():
    import hopfield as script

    loads = script.LOADS["hebbian"]
    overlaps = [1.0 if load < 0.14 else 0.95 if load < 0.145 else 0.8 for load in loads]
    records = [
        {"rule": "hebbian", "load": load, "draw": draw, "kept": kept}
        for load, kept in zip(loads, overlaps, strict=True)
        for draw in range(script.DRAWS)
    ]
    # From .95 at .14 to .8 at .145.
    assert script.falls_below(records) == pytest.approx(0.14 + 0.005 / 3, abs=1e-4)


def test_a_draw_of_patterns_is_recalled(monkeypatch):
    import hopfield as script

    monkeypatch.setattr(script, "UNITS", 100)
    few, many = script.measure("hebbian", 0.03, 0), script.measure("hebbian", 0.5, 0)
    assert few["kept"] == few["restored"] == few["fixed"] == 1.0
    assert many["kept"] < 0.9 and many["fixed"] < 0.5
    assert script.measure("hebbian", 0.5, 0) == many


def test_what_few_labels_give_is_recorded_of_every_network():
    import rbm_init as script

    found = json.loads((ROOT / script.RESULTS).read_text())
    kinds = [(seed, kind, weights, 10 * each) for seed in range(script.SEEDS) for kind in script.NONLINEARITIES
             for weights in ("free", "rbm_init") for each in script.LABELLED]  # fmt: skip
    there = {
        tuple(one[name] for name in ("seed", "nonlinearity", "weights", "labelled")): one for one in found["records"]
    }
    assert set(there) == set(kinds) and len(found["records"]) == len(kinds)
    for name, of in found["mean_accuracy"].items():
        kind, count = name.removesuffix(" labelled").split(", ")
        for weights, mean in of.items():
            each = [there[seed, kind, weights, int(count)]["accuracy"] for seed in range(script.SEEDS)]
            assert mean == pytest.approx(sum(each) / len(each), abs=1e-4)


def test_the_page_of_ingredients_has_the_table_of_its_record(monkeypatch, tmp_path):
    import ingredients as script

    made = json.loads((ROOT / script.RESULTS).read_text())["groups"]
    table = script.table(made)
    assert table in (ROOT / "docs" / "ingredients.md").read_text()
    # Every ingredient, on both data sets; a row each, and the two heads.
    names = [name for of in script.FAMILIES.values() for name in of]
    assert len(table.splitlines()) == len(names) + 2
    assert {(one["data"], one["ingredient"]) for one in made} == {
        (data, name) for data in script.SETS for name in names
    }
    assert all(one["seeds"] == 5 for one in made)
    monkeypatch.setattr(script, "FIGURE", tmp_path / "figure.png")
    script.draw(made)
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_page_has_the_table_of_degenerate_weights(monkeypatch, tmp_path):
    import degeneracy as script

    made = json.loads((ROOT / script.RESULTS).read_text())["groups"]
    page = (ROOT / "docs" / "ingredients.md").read_text()
    for kind, label in script.KINDS.items():
        row = [
            next(one for one in made if (one["network"], one["weights"]) == (network, kind))
            for network in script.NETWORKS
        ]
        assert f"| {label} | {' | '.join(map(script.cell, row))} |" in page
    monkeypatch.setattr(script, "FIGURE", tmp_path / "figure.png")
    script.draw(made)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
