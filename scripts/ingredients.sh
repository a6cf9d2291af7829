#!/usr/bin/env bash
# Which ingredients of a network make it forget less, and agree more between seeds?
#
#   bash scripts/ingredients.sh [FOLDER_OF_MNIST_PARQUET]
#
# A small convolutional network on digits and MNIST, five tasks of two classes, task-incremental; each ingredient changes
# one thing of it, or of a perceptron. Finetune and GPM, five seeds each. Without a folder MNIST comes from the hub.
# Continues where it was stopped. Runs go to runs/ingredients; results to scripts/results/ingredients.json and
# docs/figures/ingredients.png. One to two hours of a core; 2 commands at once (JOBS=n for others).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
mnist=(dataset=mnist dataset.limit=300 trainer.max_epochs=3)
[ $# -gt 0 ] && mnist+=("dataset.path=$(realpath "$1")")
digits=(dataset=digits trainer.max_epochs=5)

layers="{kind: conv, channels: 16}, {kind: pool}, {kind: conv, channels: 32}, {kind: pool}"
hidden="{kind: linear, units: 64}"
net=(model=blocks "model.blocks=[$layers, $hidden]")

train() { # NAME METHODS OVERRIDES...
  local name="$1" methods="$2"
  shift 2
  for set in mnist digits; do
    # A command at a time for each core: a launcher would start its workers anew for each.
    while (($(jobs -rp | wc -l) >= ${JOBS:-2})); do wait -n || failed=1; done
    local -n data="$set"
    orthotrace-train --multirun "${data[@]}" stream=split stream.scenario=task stream.class_order=natural \
      "${net[@]}" optimizer.lr=0.01 trainer.batch_size=32 "name=ingredients/$set/$name" "method=$methods" \
      seed=0,1,2,3,4 "$@" </dev/null &
  done
}

both=finetune,gpm
failed=0
train base "$both"
train skips "$both" "model.blocks=[{kind: conv, channels: 16, residual: true}, {kind: pool}, {kind: conv, channels: 32, residual: true}, {kind: pool}, $hidden]"
train inception "$both" "model.blocks=[{kind: inception, conv1: 4, conv3: [4, 4], conv5: [4, 4], pooled: 4}, {kind: pool}, {kind: inception, conv1: 8, conv3: [8, 8], conv5: [8, 8], pooled: 8}, {kind: pool}, $hidden]"
train separable "$both" "model.blocks=[{kind: conv, channels: 16}, {kind: pool}, {kind: separable, channels: 32}, {kind: pool}, $hidden]"
train inverted "$both" "model.blocks=[{kind: conv, channels: 16}, {kind: pool}, {kind: inverted, channels: 32, expand: 4}, {kind: pool}, $hidden]"
train fractal "$both" "model.blocks=[{kind: fractal, channels: 16, columns: 2}, {kind: pool}, {kind: fractal, channels: 32, columns: 2}, {kind: pool}, $hidden]"
train drop_path "$both" "model.blocks=[{kind: fractal, channels: 16, columns: 2, drop_path: 0.15}, {kind: pool}, {kind: fractal, channels: 32, columns: 2, drop_path: 0.15}, {kind: pool}, $hidden]"
train freeze_path "$both" model.freeze_path=true "model.blocks=[{kind: fractal, channels: 16, columns: 2}, {kind: pool}, {kind: fractal, channels: 32, columns: 2}, {kind: pool}, $hidden]"
train elu "$both" model.nonlinearity=elu
train tanh "$both" model.nonlinearity=tanh
train maxout "$both" model.nonlinearity=maxout
train max_pooling "$both" model.pool=max
train stochastic_pooling "$both" model.pool=stochastic
train no_norm "$both" model.norm=false
train whitening "$both" model.norm=whitening
train orthogonal_init "$both" weights=orthogonal_init
train low_rank_init "$both" weights=low_rank_init model.weights.share=0.25
train tied_init "$both" weights=tied_init model.weights.copies=8
train memristor "$both" weights=memristor model.weights.write_noise=0.02
# These compute their weights: projections refuse them.
train own finetune weights=own
train sawb_4 finetune weights=sawb model.weights.bits=4
train sawb_2 finetune weights=sawb model.weights.bits=2
train adder finetune weights=adder
train dropout "$both" regularizer=dropout
train ridge "$both" regularizer=l2 regularizer.l2=0.001
train input_noise "$both" regularizer=input_noise regularizer.input_noise=0.2
train label_smoothing "$both" regularizer=label_smoothing
train bootstrap_soft "$both" regularizer=bootstrap_soft
train bootstrap_hard "$both" regularizer=bootstrap_hard
# Each beside the perceptron, whose images are from 0 to 1, as digits are: machines take them for probabilities.
net=(model=mlp "model.hidden=[64,64]")
mnist+=(dataset.normalise=false)
train perceptron "$both"
train sigmoid "$both" model.nonlinearity=sigmoid optimizer.lr=0.1
train rbm_init "$both" model.nonlinearity=sigmoid optimizer.lr=0.1 weights=rbm_init
for job in $(jobs -p); do wait "$job" || failed=1; done
python scripts/ingredients.py
[ "$failed" = 0 ] || { echo "some runs failed, and are not in the table: the lines above say why" >&2; exit 1; }
