"""docs/results: the numbers of the pages are those of the records."""

from __future__ import annotations

import json

from pages import PAGES, ROOT


def test_the_speeds_are_those_that_were_measured():
    page = PAGES["docs/results/speed.md"]
    for line in (ROOT / "scripts" / "results" / "benchmark_rsa.jsonl").read_text().strip().split("\n"):
        record = json.loads(line)
        if record["peer"].startswith("rsatoolbox"):
            ratio = record["peer_over_ours"]
            assert f"| {ratio:.1f} |" in page or f"| {ratio:.0f} |" in page


def test_the_costs_of_training_are_those_that_were_measured():
    page = PAGES["docs/results/speed.md"]
    for line in (ROOT / "scripts" / "results" / "benchmark_training.jsonl").read_text().strip().split("\n"):
        record = json.loads(line)
        method, ratio = record["case"].partition(",")[0], f"{record['ours_over_peer']:.2f}".removeprefix("0")
        assert f"| {method} | {ratio} |" in page or f"{method} {ratio}" in page, record["case"]


def test_the_times_of_whitening_are_those_that_were_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from benchmark_whitening import table

    lines = (ROOT / "scripts" / "results" / "benchmark_whitening.jsonl").read_text().strip().split("\n")
    records = [json.loads(line) for line in lines]
    for kind in {one["processor"] for one in records}:
        for line in table([one for one in records if one["processor"] == kind]):
            assert line in PAGES["docs/results/concepts.md"]


def test_the_costs_of_seeds_together_are_those_that_were_measured():
    page = PAGES["docs/results/speed.md"]
    for line in (ROOT / "scripts" / "results" / "benchmark_stacked.jsonl").read_text().strip().split("\n"):
        record = json.loads(line)
        assert record["device"] == "cpu"
        assert f"| {record['case']} | {record['seeds']} | {record['lone_runs']:.1f} |" in page, record["case"]


def test_many_stimuli_take_what_was_measured_and_no_more_than_the_bound():
    page = PAGES["docs/results/speed.md"]
    lines = (ROOT / "scripts" / "results" / "benchmark_rsa_scale.jsonl").read_text().strip().split("\n")
    for record in map(json.loads, lines):
        assert f"| {record['case']} | {record['seconds']} s | {record['peak_mb']:,} MB |" in page, record["case"]
        assert record["memory"] == "4GB" and record["peak_mb"] <= 4000
    assert len(lines) == 12


def test_the_memory_of_runs_is_what_was_measured():
    page = PAGES["docs/results/speed.md"]
    lines = (ROOT / "scripts" / "results" / "benchmark_memory.jsonl").read_text().strip().split("\n")
    assert len(lines) == 10
    for one in map(json.loads, lines):
        row = f"| {one['case']} | {one['ours_peak_mb']:,.1f} | {one['peer_peak_mb']:,.1f} | {one['stated_mb']} | "
        assert f"{row}{one['beyond_mb']} |" in page, one["case"]
