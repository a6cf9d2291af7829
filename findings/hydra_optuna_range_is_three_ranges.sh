#!/usr/bin/env bash
# hydra-optuna-sweeper 1.3.0: range has its stop among the values with most samplers, and loses values with GridSampler.
#
# Hydra documents range(start, stop, step) as the values below stop, "num=range(0,5,2)  # 0,2,4", and the sweeper's
# pages send the reader there; they say that range becomes an IntDistribution, not that the end of that one counts. So
# with TPE, the default, range(0,4) is 0 to 4: a fifth seed, fold or task that was not asked for, and it can win.
# GridSampler gets floor((stop - start) / step) values: one too few wherever the step does not end at stop, so that a
# "grid" has holes, also by rounding in range(0,1,0.1). shuffle(range(0,4)) is 0 to 3. Nothing is said.
# Right would be the values of Hydra's own range, in all of them.
# Seen with Python 3.11, hydra-core 1.3.8, optuna 2.10.1, 40 trials, the value itself maximised. Values of range(0,4),
# range(0,5,2), range(0,1,0.1): basic 0-3; 0, 2, 4; 0-0.9. Grid 0-3; 0, 2; 0-0.8. TPE 0-4; 0, 2, 4; 1.0 too. Best x of
# range(0,4): 4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  hydra-core==1.3.8 hydra-optuna-sweeper==1.3.0 optuna==2.10.1
cd "$folder"
cat > app.py <<'PYTHON'
import hydra


@hydra.main(config_path=None, version_base="1.3")
def main(config):
    with open(config.out, "a") as lines:
        print(config.x, file=lines)
    return float(config.x)


main()
PYTHON
"$folder/env/bin/python" - <<'PYTHON'
import subprocess
import sys
from pathlib import Path

found, best = {}, {}
spaces = {"range(0,4)": [0, 1, 2, 3], "range(0,5,2)": [0, 2, 4], "range(0,1,0.1)": [i / 10 for i in range(10)]}
for space in (*spaces, "shuffle(range(0,4))"):
    for sampler in ("basic", "grid", "tpe") if space in spaces else ("tpe",):
        out = Path(f"{len(found)}.txt").absolute()
        command = [sys.executable, "app.py", "-m", f"+x={space}", f"+out={out}", f"hydra.sweep.dir=sweep_{len(found)}"]
        if sampler != "basic":
            command += ["hydra/sweeper=optuna", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.direction=maximize"]
            command += ["hydra.sweeper.n_trials=40", "hydra.sweeper.n_jobs=40"]
            command += [] if sampler == "grid" else ["hydra.sweeper.sampler.seed=0"]
        subprocess.run(command, check=True, capture_output=True)
        found[space, sampler] = sorted({round(float(line), 6) for line in out.read_text().split()})
        print(f"{space:20} {sampler:7}", *(f"{value:g}" for value in found[space, sampler]))
        if space == "range(0,4)" and sampler == "tpe":
            best = Path(f"sweep_{len(found) - 1}/optimization_results.yaml").read_text()
print(best)

changed = "hydra-optuna-sweeper behaves in another way now"
for space, values in spaces.items():
    assert found[space, "basic"] == values, "the documented values"
assert found["range(0,4)", "tpe"] == [0, 1, 2, 3, 4] and 1.0 in found["range(0,1,0.1)", "tpe"], changed
assert found["shuffle(range(0,4))", "tpe"] == [0, 1, 2, 3], changed
assert found["range(0,5,2)", "grid"] == [0, 2] and 0.9 not in found["range(0,1,0.1)", "grid"], changed
assert "best_value: 4.0" in best, changed
PYTHON
