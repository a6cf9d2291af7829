import json
import platform
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
RECORDS = [
    {"case": "a step", "peer": "loop", "ours_over_peer": 1.5, "range": [1.4, 1.6]},
    {"case": "an RDM", "peer": "toolbox", "peer_over_ours": 10.0, "range": [9.0, 11.0]},
]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import bench_check

    return bench_check


def records(*ratios):
    """What is measured: the records with other ratios."""
    pairs = zip(RECORDS, ratios, strict=True)
    return [{**one, next(key for key in one if "over" in key): ratio} for one, ratio in pairs]


@pytest.mark.parametrize(
    ("ratios", "worse"),
    [
        ((1.5, 10.0), []),
        ((1.69, 8.1), []),
        ((0.1, 99.0), []),
        ((1.71, 10.0), ["a step, beside loop"]),
        ((1.5, 7.9), ["an RDM, beside toolbox"]),
    ],
    ids=["same", "within the spread", "better", "slower", "less far ahead"],
)
def test_a_ratio_may_worsen_by_its_spread(script, ratios, worse, capsys):
    known = {(one["case"], one["peer"]): one for one in RECORDS}
    assert script.check(["overhead"], known, lambda name, rounds: records(*ratios)) == worse
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines].count("WORSE") == len(worse)
    assert len(lines) == 2


def test_a_ratio_of_another_kind_of_processor_does_not_count(script, capsys):
    known = {(one["case"], one["peer"]): {**one, "processor": "AMD, AVX2"} for one in RECORDS}
    found = [{**one, "processor": "Intel, AVX-512"} for one in records(9.0, 10.0)]
    assert script.check(["tasks"], known, lambda name, rounds: found) == []
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["other", "other"]
    same = [{**one, "processor": "AMD, AVX2"} for one in found]
    assert script.check(["tasks"], known, lambda name, rounds: same) == ["a step, beside loop"]


def test_of_records_of_several_processors_that_of_this_one_counts(script, tmp_path):
    lines = [{**RECORDS[0], "range": [0, number], "processor": kind} for number, kind in enumerate("abc")]
    (tmp_path / "benchmark_x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    for number, kind in enumerate("abc"):
        (found,) = script.committed(tmp_path, kind).values()
        assert found["range"] == [0, number]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("vendor_id : GenuineIntel\nflags : fpu avx2 avx512f sse\n", "Intel, AVX-512"),
        ("vendor_id : AuthenticAMD\nflags : fpu avx2 sse\n", "AMD, AVX2"),
        ("vendor_id : AuthenticAMD\nflags : fpu avx\n", "AMD"),
        (None, platform.machine()),
    ],
)
def test_the_kind_of_a_processor(script, tmp_path, text, kind):
    from measuring import processor

    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == kind


def test_what_is_worse_is_measured_once_more_with_more_rounds(script):
    asked = []

    def measure(name, rounds):
        asked.append(rounds)
        return records(2.0 if len(asked) == 1 else 1.6, 10.0)

    known = {(one["case"], one["peer"]): one for one in RECORDS}
    assert script.check(["tasks"], known, measure) == []
    assert asked == [5, 10]


def test_a_benchmark_without_committed_ranges_is_no_success(script):
    with pytest.raises(SystemExit, match="no record with a range is committed of rsa"):
        script.check(["rsa"], {}, lambda name, rounds: records(1.5, 10.0))


def test_it_ends_with_an_error_where_one_is_worse(script, monkeypatch):
    monkeypatch.setattr(script, "check", lambda names, records: [f"{name} case" for name in names])
    monkeypatch.setattr(sys, "argv", ["bench_check.py", "tasks", "rsa"])
    with pytest.raises(SystemExit, match="2 worse than what is committed: tasks case; rsa case"):
        script.main()


def test_every_benchmark_of_it_has_records_with_ranges(script, monkeypatch):
    import benchmark

    known = script.committed()
    # One of each; running them all takes half an hour.
    cases = {
        "overhead": "hlop", "convolutions": "gpm, convolutions 64-128-256 at 32 x 32", "tasks": "gpm, task 50",
        "wide": "gpm by projected inputs, LeNet", "rsa": "30 RDMs of 1000 stimuli, Pearson", "whitening": "forward and backward, 64 x 256 x 14 x 14",
        "spiking": "step of bptt, 20 steps, constant current", "networks": "step of gpm in task 2, small ViT, 32 x 32",
    }  # fmt: skip
    assert list(cases) == list(script.ROUNDS)
    for name, case in cases.items():
        assert callable(getattr(benchmark, name))
        assert any(case == one for one, _ in known), name


def test_records_are_read_from_all_files_and_those_without_a_range_left_out(script, tmp_path):
    for number, one in enumerate([*RECORDS, {"case": "memory", "peer": "loop", "ours_over_peer_mb": 1.0}]):
        (tmp_path / f"benchmark_{number}.jsonl").write_text(json.dumps(one) + "\n")
    assert list(script.committed(tmp_path)) == [("a step", "loop"), ("an RDM", "toolbox")]


def test_a_benchmark_is_run_in_a_process_of_its_own(script, tmp_path, monkeypatch):
    (tmp_path / "benchmark.py").write_text(
        "import json, sys\nprint('something else')\nprint(json.dumps({'case': sys.argv[1], 'rounds': sys.argv[4]}))\n"
    )
    monkeypatch.setattr(script, "HERE", tmp_path)
    assert script.measured("tasks", 3) == [{"case": "tasks", "rounds": "3"}]
