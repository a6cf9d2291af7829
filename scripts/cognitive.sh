#!/usr/bin/env bash
# Go, anti, delayed go, delayed anti one after the other: Duncker's rule beside fine-tuning, EWC, GPM and HLOP.
#
#   bash scripts/cognitive.sh
#
# Trials are generated: no data is needed. Continues where it was stopped; the first runs matter most. Runs go to
# runs/cognitive; results to scripts/results/cognitive.json, after every method. 1 job at a time (JOBS=n for others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

train() {
  orthotrace-train --multirun experiment=cognitive seed=0,1 hydra/launcher=joblib "hydra.launcher.n_jobs=${JOBS:-1}" "$@"
  python scripts/family.py cognitive
}

train method=finetune
train method=duncker
train method=gpm method.energy=0.999
train method=hlop method.energy=0.999
train method=ewc method.strength=1
