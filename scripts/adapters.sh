#!/usr/bin/env bash
# Adapters on a small vision transformer: pretrained on the first 50 classes of CIFAR-100, then 5 tasks of 10 classes.
#
#   bash scripts/adapters.sh [FOLDER_OF_CIFAR100_PARQUET]
#
# Plain LoRA beside InfLoRA, SplitLoRA and EBLoRA, and the guard (gpm) and fine-tuning on all weights. Without a folder
# CIFAR-100 comes from the hub. Continues where it was stopped, at the end of a task. Runs go to runs/adapters_pretrained
# and runs/adapters; results to scripts/results/adapters.json, after every method. 1 job at a time (JOBS=n for others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
data=()
[ $# -gt 0 ] && data=("dataset.path=$(realpath "$1")")

# The recipe of the pretrained network: 12 epochs with flips and crops.
orthotrace-train dataset=cifar100 "${data[@]}" stream=split stream.tasks=1 stream.classes_per_task=50 \
  stream.class_order=natural model=vit method=finetune augmentation=natural optimizer=adam optimizer.lr=0.001 \
  scheduler=cosine trainer.max_epochs=12 trainer.batch_size=64 seed=0 name=adapters_pretrained \
  hydra.run.dir=runs/adapters_pretrained

train() {
  orthotrace-train --multirun experiment=adapters seed=0,1 "${data[@]}" init_from=runs/adapters_pretrained \
    hydra/launcher=joblib "hydra.launcher.n_jobs=${JOBS:-1}" "$@"
  python scripts/family.py adapters
}

train weights=lora model.weights.rank=8 method=finetune
train weights=lora model.weights.rank=8 method=inflora
train weights=lora model.weights.rank=8 method=splitlora
train weights=lora model.weights.rank=8 method=eblora
train method=gpm method.energy=0.95 method.growth=0.005
train method=finetune
