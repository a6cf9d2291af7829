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
