#!/usr/bin/env bash
# Deep networks that start from singular weights: what do skips, batch normalisation and whitening mend?
#
#   bash scripts/degeneracy.sh
#
# 16 convolutions of 16 channels on digits, plain, with skips, with batch normalisation, with whitening; first weights of
# the 15 layers that skips span as usual, of an eighth of the rank, or all units of a layer alike; last, those of the
# first layer alike too. 3 seeds. The learning rate of each by validation images, with a seed that no result uses.
# Continues where it was stopped. Runs go to runs/degeneracy_*; results to scripts/results/degeneracy.json and
# docs/figures/degeneracy.png. Some 25 minutes of a core; 2 jobs at once (JOBS=n).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

train() { # NETWORK RESIDUAL NORM ...
  local blocks="{kind: conv, channels: 16}" residual="$2" norm="$3" name="$1"
  shift 3
  for _ in {2..16}; do blocks+=", {kind: conv, channels: 16, residual: $residual}"; done
  orthotrace-train --multirun dataset=digits stream=single method=finetune model=blocks "model.blocks=[$blocks]" \
    "model.norm=$norm" optimizer=adam trainer.max_epochs=12 "trainer.checkpoints=[0,1,2,4,8,12]" \
    hydra/launcher=joblib "hydra.launcher.n_jobs=${JOBS:-2}" "name=degeneracy_$name" "$@"
}

each() { # NETWORK RESIDUAL NORM
  local spanned weights
  spanned="model.weights.layers=[$(seq -s, -f 'block%g.conv' 2 16)]"
  weights=("weights=free" "weights=low_rank_init model.weights.share=0.125 $spanned"
    "weights=tied_init model.weights.copies=16 $spanned" "weights=tied_init model.weights.copies=16")
  for chosen in "${weights[@]}"; do
    read -ra given <<<"$chosen"
    train "search_$1" "$2" "$3" seed=100 optimizer.lr=0.00003,0.0001,0.0003,0.001,0.003 "${given[@]}"
    rate="$(python scripts/degeneracy.py rate "degeneracy_search_$1" "$chosen")"
    train "$1" "$2" "$3" seed=0,1,2 "optimizer.lr=$rate" "${given[@]}"
  done
  orthotrace-analyze "runs=runs/degeneracy_$1" epochs=all degeneracy=true formats=[] stimuli.per_class=20 \
    "out=runs/degeneracy_$1/analysis"
}

each plain false false
each skips true false
each batch_norm false true
each whitening false whitening
python scripts/degeneracy.py results
