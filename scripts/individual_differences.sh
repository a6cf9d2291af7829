#!/usr/bin/env bash
# CIFAR-10: networks that differ in their initial weights alone, or in the order of the images alone (Mehrer et al. 2020).
#
#   bash scripts/individual_differences.sh [gpu=true] [width=W] [epochs=N] [FOLDER_OF_CIFAR10_PARQUET]
#
# Tiny-10 for 2 epochs, 5 weight seeds and 5 order seeds, which share a network: some 40 minutes of one core. With
# gpu=true All-CNN-C by the full recipe, 350 epochs, 10 weight seeds. With a width, such as .25, All-CNN-C with so many of
# its channels, 6 epochs, 5 weight seeds, on whatever device there is: some 50 minutes of one core. Without a folder the
# images come from the hub.
#
# Continues where it was stopped: "timeout 540 bash scripts/individual_differences.sh ..." trains it in pieces. Given
# more epochs it goes on from the networks that are there. Runs go to runs/individual_differences, analyses beside them;
# numbers to scripts/results/individual_differences.json. JOBS=n trains n networks at once.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
gpu=false epochs="" width="" data=()
for given in "$@"; do
  case "$given" in
    gpu=*) gpu="${given#*=}" ;;
    epochs=*) epochs="${given#*=}" ;;
    width=*) width="${given#*=}" ;;
    *) data=("dataset.path=$(realpath "$given")") ;;
  esac
done
launch=()
[ "${JOBS:-1}" -gt 1 ] && launch=(hydra/launcher=joblib "hydra.launcher.n_jobs=$JOBS")

command="bash scripts/individual_differences.sh${width:+ width=$width}"
train() { orthotrace-train --multirun experiment=individual_differences "${data[@]}" "${launch[@]}" "$@"; }
analyze() {
  orthotrace-analyze runs=runs/individual_differences "+where.trainer.max_epochs=$epochs" \
    "+where.model._target_=$model" "${narrow[@]}" stimuli.per_class=100 "$@"
}

narrow=()
if [ "$gpu" = true ] || [ -n "$width" ]; then
  model=orthotrace.models.all_cnn.AllCNN name=all_cnn_c own=()
  [ "$gpu" = true ] && own+=(trainer.accelerator=gpu)
  if [ -n "$width" ]; then
    # Steps are few, and its layers have no normalisation: at the recipe's .01 it is near chance for two epochs.
    epochs="${epochs:-6}" name="all_cnn_c_$width" narrow=("+where.model.width=$width")
    own+=("model.width=$width" optimizer.lr=0.05)
  fi
  epochs="${epochs:-350}"
else
  # Its batch normalisation takes a larger rate, which counts where epochs are few.
  epochs="${epochs:-2}" model=orthotrace.models.tiny.Tiny10 name=tiny_10
  own=(model=tiny_10 optimizer.lr=0.1)
fi
kept=0
for epoch in 1 2 5 10 20 50 100 150 200 250 300; do [ "$epoch" -lt "$epochs" ] && kept="$kept,$epoch"; done
own+=("trainer.max_epochs=$epochs" "trainer.checkpoints=[$kept,$epochs]")

out="runs/individual_differences/analysis_$name"
if [ -n "$width" ]; then
  train "${own[@]}" seeds.init=0,1,2,3,4
elif [ "$gpu" = true ]; then
  train "${own[@]}" seeds.init=0,1,2,3,4,5,6,7,8,9
else
  train "${own[@]}" seeds.init=0,1,2,3,4
  train "${own[@]}" seeds.order=1,2,3,4
  analyze +where.seeds.init=0 "out=$out/order"
fi
analyze +where.seeds.order=0 "out=$out/weights"
# The measure of which the replication printed numbers.
analyze +where.seeds.order=0 rdm=euclidean "out=$out/weights_euclidean" formats=[]
analyze +where.seeds.order=0 epochs=all "out=$out/epochs"

python scripts/individual_differences.py "$out" "$command"
