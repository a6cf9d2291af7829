#!/usr/bin/env bash
# How long an analysis of 10 seeds x 9 layers x 5 tasks takes for 1,000 stimuli of MNIST, and again with its RDMs kept.
#
#   bash scripts/analysis_scale.sh [FOLDER_OF_MNIST_PARQUET]
#
# Networks of 9 layers are trained on 100 images of each class, since only their number matters here. Runs go to
# runs/analysis_scale. Prints seconds, seconds of processors, and the largest memory of each analysis, in GB.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

orthotrace-train --multirun experiment=permuted_mnist method=finetune "${data[@]}" dataset.limit=100 stream.tasks=5 \
  'model.hidden=[256,256,256,256,256,256,256,256]' model.bias=true seed=0,1,2,3,4,5,6,7,8,9 \
  hydra.sweep.dir=runs/analysis_scale
rm -rf runs/analysis_scale/analysis
for which in first again; do
  python - "$which" <<'PYTHON'
import resource
import subprocess
import sys
import time

began = time.perf_counter()
command = ["orthotrace-analyze", "runs=runs/analysis_scale", "tasks=all", "stimuli.per_class=100"]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(
    f"{sys.argv[1]}: {time.perf_counter() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processors, "
    f"{used.ru_maxrss / 2**20:.2f} GB"
)
PYTHON
done
