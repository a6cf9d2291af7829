import json
import sys
from pathlib import Path

import pytest
import torch
from images import write_tables
from part import part

from orthotrace.linalg import is_orthonormal

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


CASES = {
    "overhead": ["finetune", "gpm", "hlop", "hlop with closing pass"],
    "data": ["epoch of MNIST with shifts"],
}


@pytest.mark.parametrize("benchmark", part(CASES, ["overhead", "data"]))
def test_records_have_their_fields(tmp_path, benchmark, monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.chdir(tmp_path)
    import benchmark as script

    monkeypatch.setattr(script, "EPOCHS", 1)

    folder = [str(write_tables(tmp_path, 10, 20, side=28))] if benchmark == "data" else []
    monkeypatch.setattr(sys, "argv", ["benchmark.py", benchmark, *folder, "--json", "--rounds", "1"])
    script.main()
    records = [json.loads(line) for line in capsys.readouterr().out.strip().split("\n")]
    assert [record["case"] for record in records] == CASES[benchmark]
    for record in records:
        assert set(record) == {
            "case",
            "peer",
            "ours_s",
            "peer_s",
            "ours_over_peer",
            "range",
            "ours_peak_mb",
            "peer_peak_mb",
            "processor",
        }
        assert record["ours_s"] > 0 and record["peer_s"] > 0


def test_training_benchmarks_of_few_images_and_tasks(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark_training

    found = benchmark_training.convolutions(1, images=64, epochs=1, width=0.25)
    assert [case.partition(",")[0] for case, _, _, _ in found] == ["finetune", "gpm", "hlop"]
    found += benchmark_training.tasks(1, last=3)
    assert [case for case, _, _, _ in found[3:]] == [f"{name}, task 3" for name in benchmark_training.STEADY]
    rows = {"conv1": [5, 0], "conv2": [5, 0], "fc1": [30, 0], "fc2": [5, 0], "head": [5, 0]}
    found += benchmark_training.wide(1, images=32, rows=rows)
    assert [case for case, _, _, _ in found[-2:]] == ["gpm by projected inputs, LeNet", "gpm by projected steps, LeNet"]
    assert all(ours > 0 and peer > 0 for _, _, times, _ in found for ours, _, peer, _ in times)


def test_a_step_of_the_last_task_is_one_of_a_method_that_holds(monkeypatch):
    """At the same rank as in the second, however many tasks came between."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark_training

    stream = benchmark_training.Permuted(benchmark_training.digits(), tasks=3)
    for number in (2, 3):
        method = benchmark_training.STEADY["gpm"]()
        benchmark_training.stepper(method, stream, number)()
        assert {space.rank for space in method.guard.subspaces.values()} == {40}


def test_rsa_benchmarks_compare_equal_results(monkeypatch):
    """Of small inputs: the whole benchmark takes minutes."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark
    import benchmark_rsa

    small = benchmark_rsa.cases(stimuli=30, features=50, resamples=20)
    monkeypatch.setattr(benchmark_rsa, "cases", lambda: small)
    records = benchmark.rsa(rounds=1)
    assert [record["case"] for record in records] == [one.name for one in small] and len(small) in (10, 11)
    for record in records:
        assert set(record) == {
            "case",
            "peer",
            "ours_s",
            "peer_s",
            "peer_over_ours",
            "range",
            "ours_peak_mb",
            "peer_peak_mb",
        }
        # Both are rounded.
        assert record["peer_over_ours"] > 0
    wrong = benchmark_rsa.Case("wrong", "peer", lambda: 1.0, lambda: 2.0, check=lambda a, b: a == b)
    monkeypatch.setattr(benchmark_rsa, "cases", lambda: [wrong])
    with pytest.raises(RuntimeError, match="wrong: ours and peer do not agree"):
        benchmark.rsa(rounds=1)


def test_spiking_benchmarks_have_their_fields(monkeypatch):
    """Of a small network: the whole benchmark takes a minute."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark
    import benchmark_spiking as cases

    for name, value in {"HIDDEN": (12, 9), "BATCH": 8, "STEPS": 3, "ROWS": [4, 3, 2]}.items():
        monkeypatch.setattr(cases, name, value)
    monkeypatch.setattr(cases.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(cases, "peak", lambda case, steps: 20.0 if "bptt" in case or steps > 10 else 40.0)
    records = benchmark.spiking(rounds=1)
    assert [one["peer"] for one in records] == [
        "snntorch", "ordinary network", "snntorch", "ordinary network", "bptt", "bptt", "finetune", "finetune", "snntorch",
        "10 steps",
    ]  # fmt: skip
    assert all(one["ours_over_peer"] > 0 for one in records[:-2])
    assert [one["ours_over_peer_mb"] for one in records[-2:]] == [0.5, 0.5]


def test_network_benchmarks_have_their_fields(monkeypatch):
    """Of small networks and few images."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark
    import benchmark_networks as cases

    from orthotrace.models.recurrent import Recurrent
    from orthotrace.models.vit import ViT

    small = {
        "vit": ((1, 8, 8), lambda shape: ViT(shape, 10, patch=4, features=16, depth=1, heads=2), 1.25),
        "lstm": ((1, 20, 20), lambda shape: Recurrent(shape, 10, "lstm", [16], "rows"), 1.3),
    }
    monkeypatch.setattr(cases, "NETWORKS", small)
    monkeypatch.setattr(cases, "BATCHES", 1)
    records = benchmark.networks(rounds=1)
    names = [f"step of {method} in task 2, {network}" for network in small for method in ("gpm", "hlop")]
    assert [one["case"] for one in records] == names
    assert all(one["ours_over_peer"] > 0 and ("promised" in one) == ("gpm" in one["case"]) for one in records)


@pytest.fixture
def whitening(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark_whitening

    return benchmark_whitening


@pytest.mark.parametrize("begin", [1000.0, None])
@pytest.mark.parametrize("reduction", ["mean", "pool_max"])
def test_the_search_of_the_benchmark_climbs_to_an_optimum(whitening, reduction, begin):
    features = whitening.planted(12, images=20, side=4)
    search = whitening.Search(features, reduction, begin)
    rotation = search.run()
    climbed = torch.tensor(search.objectives)
    assert len(climbed) > 3 and float(climbed.diff().min()) >= -1e-5 * float(climbed[-1])
    assert is_orthonormal(rotation, 1e-5)
    if reduction == "mean":
        means = features.double().mean((1, 3, 4))
        assert climbed[-1] == pytest.approx(float(torch.linalg.svdvals(means).sum()), rel=1e-3)
    else:
        # Where it stands, no turn raises the objective: R G^T is symmetric among the rows.
        gradient = search.gradient(rotation)[1]
        skew = gradient @ rotation.T - rotation @ gradient.T
        start = search.gradient(torch.eye(12))[1]
        assert float(skew.norm()) < 0.05 * float((start - start.T).norm())


def test_whitening_benchmarks_have_their_fields(whitening, monkeypatch):
    """Of small inputs: the whole benchmark takes minutes."""
    import benchmark

    monkeypatch.setattr(whitening, "TRAINED", {(8, 4, 3, 3): 11.0, (8, 4, 2, 2): None})
    monkeypatch.setattr(whitening, "EVALUATED", (8, 4, 3, 3))
    monkeypatch.setattr(whitening, "WIDTHS", (8,))
    records = benchmark.whitening(rounds=1)
    fields = {"case", "peer", "ours_s", "peer_s", "range", "ours_peak_mb", "peer_peak_mb"}
    # With the products that each consists of.
    assert [set(record) - fields for record in records[:5]] == [
        {"ours_over_peer", "promised"}, {"ours_over_peer"}, {"ours_over_peer"}, {"ours_over_peer"}, {"ours_over_peer"},
    ]  # fmt: skip
    assert [record["case"].partition(",")[0] for record in records[:2]] == [
        "forward and backward", "its five products alone",
    ]  # fmt: skip
    assert len(records) == 5 + 2 + 4
    for number, record in enumerate(records[5:]):
        assert set(record) - fields - {"root_s"} == {
            "peer_over_ours", "promised", "ours_objective", "peer_objective", "peer_solves",
        }  # fmt: skip
        assert ("root_s" in record) == (number >= 2)
        assert record["ours_objective"] >= record["peer_objective"] - 1e-4
        assert record["peer_s"] > 0 and record["peer_solves"] > 3


def test_the_scaling_plot_is_drawn_of_what_was_measured(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import scaling

    committed = json.loads((SCRIPT.parents[1] / scaling.RESULTS).read_text())["records"]
    assert {(one["what"], one["value"]) for one in committed} == {
        (what, value) for what, (_, values, _) in scaling.CASES.items() for value in values
    }
    monkeypatch.setattr(scaling, "FIGURE", tmp_path / "scaling.png")
    scaling.draw(committed)
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    monkeypatch.setattr(scaling, "CASES", {"small": ("stimuli", (8,), lambda n: scaling.making(n, 5))})
    assert scaling.measure("small", 8)["seconds"] >= 0


def test_networks_trained_together_are_compared_with_lone_ones(monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark_stacked as script

    monkeypatch.setattr(script, "LONE", 1)
    words = ["--images", "64", "--seeds", "2", "--networks", "tiny_10", "--methods", "finetune"]
    monkeypatch.setattr(sys, "argv", ["benchmark_stacked.py", *words])
    script.main()
    (record,) = [json.loads(line) for line in capsys.readouterr().out.strip().split("\n")]
    assert record["case"] == "finetune, tiny_10" and (record["device"], record["seeds"]) == ("cpu", 2)
    assert record["lone_runs"] == pytest.approx(record["together_s"] / record["alone_s"], rel=0.05)


def test_records_of_many_stimuli_say_what_they_took(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark_scale

    found = list(benchmark_scale.rsa_scale(((60, 20, 3),), "64GB"))
    assert found[0]["case"] == "correlation RDM, 60 stimuli x 20 float32" and len(found) == 7
    assert [one["case"].rpartition(", ")[2] for one in found[2:]] == ["made into files", *benchmark_scale.METHODS]
    # Of the whole process, torch among it.
    assert all(one["memory"] == "64GB" and one["peak_mb"] > 100 and one["seconds"] >= 0 for one in found)
