"""Networks of other packages: what they answer, and one of Hugging Face through the configuration."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from composed import composed
from part import part
from torch import nn

from orthotrace.cli.train import assemble
from orthotrace.core.errors import UserError
from orthotrace.models.outside import Outside, logits_of
from orthotrace.results.run_folder import Run

LOGITS = torch.zeros(2, 3)
HIDDEN = "hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8"
NETWORK = (
    "model=outside", "model.network._target_=transformers.ViTForImageClassification",
    "+model.network.config={_target_: transformers.ViTConfig, image_size: 8, patch_size: 4, num_channels: 1, "
    f"num_labels: LABELS, {HIDDEN}}}",
)  # fmt: skip
TINY = ("stream=permuted", "stream.tasks=2", "trainer.max_epochs=1", "dataset.limit=20", "trainer.accelerator=cpu")


@pytest.mark.parametrize(
    "answer", [LOGITS, {"loss": None, "logits": LOGITS}, SimpleNamespace(logits=LOGITS), (LOGITS, None), [LOGITS]]
)
def test_logits_are_found(answer):
    assert logits_of(answer) is LOGITS


@pytest.mark.parametrize("answer", [{}, {"hidden": LOGITS}, (), None, SimpleNamespace(logits=None)])
def test_an_answer_without_logits(answer):
    with pytest.raises(UserError, match="without logits: take a network for classification"):
        logits_of(answer)


class Verbose:
    def __repr__(self):
        return "Verbose {\n  many: lines\n}"


@pytest.mark.parametrize("network", [None, 3, {"a": 1}, nn.Linear, Verbose()])
def test_no_module(network):
    with pytest.raises(UserError, match="network: input should be an instance of Module") as refused:
        Outside((1, 2, 2), 3, network)
    assert "\n" not in str(refused.value)


def made(run: Run, labels: int, *overrides: str):
    config = composed(*(word.replace("LABELS", str(labels)) for word in NETWORK), *overrides, *TINY)
    choices = SimpleNamespace(method="ewc", stream="permuted")
    return assemble(config, run, SimpleNamespace(runtime=SimpleNamespace(choices=choices)))[0]


@pytest.mark.parametrize("method", part(["finetune", "ewc"], ["ewc"]))
def test_one_of_hugging_face_trains(tmp_path, method):
    experiment = made(Run(tmp_path), 10, f"method={method}")
    before = {name: value.clone() for name, value in experiment.learner.model.named_parameters()}
    assert experiment.run().finished
    moved = [
        name for name, value in experiment.learner.model.named_parameters() if not torch.equal(value, before[name])
    ]
    # What is added to all keys alike changes no attention.
    assert set(before) - set(moved) <= {name for name in before if "key.bias" in name or "k_proj.bias" in name}


def test_one_with_another_number_of_outputs_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"gives \(2, 3\) for two images, where \(2, 10\) is needed"):
        made(Run(tmp_path), 3, "method=ewc")
