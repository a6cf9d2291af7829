#!/usr/bin/env bash
# CIFAR-100's 20 superclasses as tasks, the LeNet and schedule of Saha et al., ICLR 2021.
#
#   bash scripts/cifar100_superclasses.sh [gpu=true] [epochs=N] [key=value ...] [FOLDER_OF_CIFAR100_PARQUET]
#
# gpm, trgp, hlop and finetune with 2 seeds, complement (DualGPM), api, sgp and ewc with 1; 50 epochs of each task at
# most, as published. Without a folder the images come from the hub. Continues where it was stopped, at the end of an
# epoch. Runs go to runs/cifar100_superclasses*; results to scripts/results/cifar100_superclasses.json, after every
# method. 2 jobs at a time (JOBS=n for others). A run takes about 80 minutes of a core.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
own=()
for given in "$@"; do
  case "$given" in
    gpu=true) own+=(trainer.accelerator=gpu) ;;
    gpu=false) ;;
    epochs=*) own+=("trainer.max_epochs=${given#*=}") ;;
    *=*) own+=("$given") ;;
    *) own+=("dataset.path=$(realpath "$given")") ;;
  esac
done

train() {
  orthotrace-train --multirun experiment=cifar100_superclasses "${own[@]}" trainer.save_every=1 \
    hydra/launcher=joblib "hydra.launcher.n_jobs=${JOBS:-2}" "$@"
  python scripts/family.py cifar100_superclasses
}

# Energies of the paper; HLOP learns at most 100 directions of a layer in each task.
rows=(method.energy=0.98 method.growth=0.001 method.samples=125)
hlop=(method=hlop method.energy=0.98 method.growth=0.001)
# As the published code begins, and ends a task.
published=(model.initialisation=he regularizer.restore_best=true)
train name=cifar100_superclasses_published "${published[@]}" method=gpm "${rows[@]}" seed=0,1
train name=cifar100_superclasses_published "${published[@]}" method=finetune seed=0,1
train name=cifar100_superclasses_published "${published[@]}" method=trgp "${rows[@]}" seed=0,1
train name=cifar100_superclasses_published "${published[@]}" "${hlop[@]}" seed=0,1
train name=cifar100_superclasses_published "${published[@]}" method=gpm "${rows[@]}" method.complement=true seed=0
train name=cifar100_superclasses_published "${published[@]}" method=api "${rows[@]}" seed=0
train name=cifar100_superclasses_published "${published[@]}" method=sgp "${rows[@]}" method.alpha=3 seed=0
train name=cifar100_superclasses_published "${published[@]}" method=ewc method.strength=50 seed=0

# As published loaders read the images: planes of colours as pixels, in [0, 1], the superclasses in their own order.
planes=(dataset.preparation=planes stream.class_order=natural method=gpm "${rows[@]}" seed=0)
train name=cifar100_superclasses_published_planes "${published[@]}" "${planes[@]}"

# TRGP as its published code has it.
PYTHONPATH="$PWD/scripts" train name=cifar100_superclasses_published_trgp "${published[@]}" method=trgp "${rows[@]}" \
  method._target_=trgp_published.PublishedTRGP seed=0

# Torch's first weights, and the weights of each task's last epoch.
train name=cifar100_superclasses_planes "${planes[@]}"
train method=gpm "${rows[@]}" seed=0
train method=trgp "${rows[@]}" seed=0
train "${hlop[@]}" seed=0
train method=finetune seed=0
