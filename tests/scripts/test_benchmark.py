import json
import subprocess
import sys
from pathlib import Path

import pytest
from images import write_tables

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


CASES = {
    "overhead": ["finetune", "gpm", "hlop", "hlop with closing pass"],
    "ewc": ["ewc, task 10", "ewc_online, task 10"],
    "data": ["epoch of MNIST with shifts"],
}


@pytest.mark.parametrize("benchmark", CASES)
def test_records_have_their_fields(tmp_path, benchmark):
    folder = [str(write_tables(tmp_path, 10, 20, side=28))] if benchmark == "data" else []
    done = subprocess.run(
        [sys.executable, SCRIPT, benchmark, *folder, "--json", "--rounds", "1"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.strip().split("\n")]
    assert [record["case"] for record in records] == CASES[benchmark]
    for record in records:
        assert set(record) == {"case", "peer", "ours_s", "peer_s", "ours_over_peer", "ours_peak_mb", "peer_peak_mb"}
        assert record["ours_s"] > 0 and record["peer_s"] > 0


def test_rsa_benchmarks_compare_equal_results(monkeypatch):
    """Of small inputs: the whole benchmark takes minutes."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import benchmark
    import benchmark_rsa

    small = benchmark_rsa.cases(stimuli=30, features=50, resamples=20)
    monkeypatch.setattr(benchmark_rsa, "cases", lambda: small)
    records = benchmark.rsa(rounds=1)
    assert [record["case"] for record in records] == [one.name for one in small] and len(small) == 9
    for record in records:
        assert set(record) == {"case", "peer", "ours_s", "peer_s", "peer_over_ours", "ours_peak_mb", "peer_peak_mb"}
        # Both are rounded.
        assert record["peer_over_ours"] > 0
    wrong = benchmark_rsa.Case("wrong", "peer", lambda: 1.0, lambda: 2.0, check=lambda a, b: a == b)
    monkeypatch.setattr(benchmark_rsa, "cases", lambda: [wrong])
    with pytest.raises(RuntimeError, match="wrong: ours and peer do not agree"):
        benchmark.rsa(rounds=1)


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
