"""Published set-ups, on tiny Parquet files of the right schema."""

from __future__ import annotations

import json

import pytest
from composed import five
from images import write_tables
from part import part

# Experiment -> what its data needs, and where the network is made small enough for a test.
PUBLISHED = {
    "permuted_mnist": (lambda folder: write_tables(folder, 10, 3, side=28), ["stream.tasks=2", "method.rows=4", "model.hidden=[12]"], (2, 10)),
    "permuted_mnist_spiking": (
        lambda folder: write_tables(folder, 10, 3, side=28), ["stream.tasks=2", "model.hidden=[12]", "model.steps=2"], (2, 10),
    ),
    "split_mnist": (lambda folder: write_tables(folder, 10, 3, side=28), ["model.hidden=[12]", "method=ewc"], (5, 10)),
    "permuted_mnist_gpm": (
        lambda folder: write_tables(folder, 10, 3, side=28), ["stream.tasks=2", "model.hidden=[12]"], (2, 10),
    ),
    "split_cifar10": (
        lambda folder: write_tables(folder, 10, 2, 32, True, "img"), ["model.width=.1", "stream.validation=.2"], (5, 10),
    ),
    "split_cifar100": (
        lambda folder: write_tables(folder, 100, 2, 32, True, "img", "fine_label", 20), ["model.width=.05"], (10, 100),
    ),
    "split_cifar100_spiking": (
        lambda folder: write_tables(folder, 100, 2, 32, True, "img", "fine_label", 20), ["model.width=.05", "model.steps=2"], (10, 100),
    ),
    "split_cifar100_alexnet": (
        lambda folder: write_tables(folder, 100, 2, 32, True, "img", "fine_label", 20), ["model.width=.05"], (10, 100),
    ),
    "cifar100_superclasses": (
        lambda folder: write_tables(folder, 100, 2, 32, True, "img", "fine_label", 20), ["model.width=.05"], (20, 100),
    ),
    "five_datasets": (five, ["model.width=.1"], (5, 20)),
    "mini_imagenet": (lambda folder: write_tables(folder, 100, 1, 84, True), ["model.width=.05"], (20, 100)),
}  # fmt: skip
# One of each data set.
KEPT = ["permuted_mnist_spiking", "split_mnist", "split_cifar10", "split_cifar100_alexnet", "five_datasets"]
LATER = ["trainer.max_epochs=1"]


# A network of one channel is soon full.
@pytest.mark.filterwarnings("ignore:layer .* directions")
@pytest.mark.parametrize("experiment", part(PUBLISHED, KEPT))
def test_a_published_set_up_runs_from_tiny_files(train, tmp_path, experiment):
    make, small, (tasks, classes) = PUBLISHED[experiment]
    make(tmp_path / "data")
    # Of the schedule one epoch is run: a warm-up of five has no room in it, nor has a part of one image.
    shorter = ["scheduler.warmup=0"] if experiment in ("split_cifar100", "split_cifar100_spiking") else []
    shorter += ["stream.validation=.2"] if "cifar100" in experiment or experiment == "mini_imagenet" else []
    # Each begins with a method of its paper; tiny images are noise, which has no few directions.
    shorter += ["method.rows=1"] if "split_mnist" not in experiment else []
    answer = train(
        f"experiment={experiment}", f"dataset.path={tmp_path / 'data'}", "hydra.run.dir=run", *small, *shorter, *LATER
    )
    assert answer.code == 0, answer.err
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert len(scores["accuracy"]) == tasks and len(scores["classes"]) == classes
