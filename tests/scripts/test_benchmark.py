import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


def test_records_have_their_fields(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "overhead", "--json", "--rounds", "1"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.strip().split("\n")]
    assert [record["case"] for record in records] == ["finetune", "gpm", "hlop", "hlop with closing pass"]
    for record in records:
        assert set(record) == {"case", "peer", "ours_s", "peer_s", "ours_over_peer", "ours_peak_mb", "peer_peak_mb"}
        assert record["ours_s"] > 0 and record["peer_s"] > 0
