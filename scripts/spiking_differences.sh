#!/usr/bin/env bash
# MNIST: do spiking networks agree with each other as ordinary ones do, in which layers, and when?
#
#   bash scripts/spiking_differences.sh [FOLDER_OF_MNIST_PARQUET]
#
# Five seeds of a network of ReLUs, and of a spiking one with the same layers. Without a folder MNIST comes from the hub.
# Continues where it was stopped. Runs go to runs/spiking_differences, analyses beside them; results to
# scripts/results/spiking_differences. 1 job at a time (JOBS=n for others): some ten minutes of one core.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")
launch=()
[ "${JOBS:-1}" -gt 1 ] && launch=(hydra/launcher=joblib "hydra.launcher.n_jobs=$JOBS")
runs=runs/spiking_differences

train() {
  orthotrace-train --multirun experiment=spiking_differences "${data[@]}" "${launch[@]}" seed=0,1,2,3,4 "$@"
}
labels='labels={finetune\, model\=mlp: ReLUs, finetune\, learning\=bptt\, steps\=6\, model\=spiking_mlp: spiking}'
analyze() { orthotrace-analyze "runs=$runs" stimuli.per_class=50 "$@"; }

train model=mlp
train model=spiking_mlp model.learning=bptt model.steps=6

# Firing rates; every step; and the spikes themselves, which ordinary networks have not.
analyze "out=$runs/analysis/rates" "$labels" 'figures=[consistency,activity]'
analyze "out=$runs/analysis/windows" "$labels" spikes.windows=6 'figures=[windows]'
analyze "out=$runs/analysis/trains" rdm=van_rossum +where.model.steps=6 'labels={finetune: spiking}' 'formats=[]'
python scripts/spiking_differences.py
