"""What is told of networks that are trained as they are; refusals are tested where they are seen, by the commands."""

from __future__ import annotations

import warnings

import pytest
from composed import built
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers.whitening import Whitening
from orthotrace.models.convnet import AlexNet, ConvNet, LeNet
from orthotrace.models.vit import ViT
from orthotrace.results.run_folder import Run
from orthotrace.training.checks import warn_of_statistics

RGB = (3, 32, 32)
# A network, dropout of the regularizer, and the first layer whose statistics do not fit; None where all do.
NETWORKS = {
    "alexnet": (lambda: AlexNet(RGB, 10, width=0.05), 0.0, "bn2"),
    "without dropout": (lambda: AlexNet(RGB, 10, width=0.05, dropout=(0, 0)), 0.0, None),
    "statistics of each batch": (lambda: AlexNet(RGB, 10, width=0.05, statistics="batch"), 0.0, None),
    "dropout at the end": (lambda: AlexNet(RGB, 10, width=0.05, dropout=(0, 0.1)), 0.0, "bn4"),
    "regularizer": (lambda: ConvNet(RGB, 10, width=0.1), 0.2, "bn2"),
    "regularizer, batch": (lambda: AlexNet(RGB, 10, width=0.05, statistics="batch"), 0.2, None),
    "no regularizer": (lambda: ConvNet(RGB, 10, width=0.1), 0.0, None),
    "no normalisation": (lambda: LeNet(RGB, 10, width=0.1), 0.2, None),
    "layer normalisation": (lambda: ViT(RGB, 10, width=0.25), 0.2, None),
    "whitening": (lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4), Whitening(4)), 0.0, "2"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_statistics_that_are_collected_behind_dropout_are_told(case):
    make, dropout, layer = NETWORKS[case]
    model = make()
    if layer is None:
        with warnings.catch_warnings():
            # Whatever the tests ignore.
            warnings.simplefilter("error")
            warn_of_statistics(model, dropout)
    else:
        with pytest.warns(UserWarning, match=f"layer '{layer}': its running statistics are of activations"):
            warn_of_statistics(model, dropout)


def test_a_matrix_that_has_no_decomposition_is_one_line(tmp_path):
    adapted = ("method=eblora", "stream=permuted", "weights=lora", "model.weights.rank=2", "model.hidden=[8]")
    tiny = ("dataset.limit=20", "trainer.max_epochs=2", "optimizer=sgd", "optimizer.lr=1e30", "trainer.accelerator=cpu")
    experiment = built(Run(tmp_path / "run"), *adapted, *tiny)
    with pytest.raises(
        UserError, match=r"^optimizer: a matrix cannot be decomposed in task 1 \(linalg.svd: .*\): lower the"
    ):
        experiment.run()
