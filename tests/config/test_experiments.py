"""The studies of one factor each: what differs from the first one, and between the runs of a command."""

from __future__ import annotations

import shlex

import pytest
from composed import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from pages import composed_all

from orthotrace.config.conf import conf_folder
from orthotrace.config.folder_names import differences, relevant
from orthotrace.config.keys import known_keys

# Experiment -> what it sets otherwise than individual_differences, and what its command varies.
FACTORS = {
    "individual_differences": (set(), {"seeds.init"}),
    "shuffle_differences": (set(), {"seeds.order"}),
    "image_differences": (set(), {"seeds.stream", "stream.images"}),
    "category_differences": ({"stream.classes"}, {"seeds.stream", "stream.classes"}),
    "dropout_differences": (set(), {"model.dropout", "seeds.init"}),
    "trajectory": ({"trainer.checkpoints"}, {"seeds.init"}),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_study_varies_its_factor_alone(name):
    other, varied = FACTORS[name]
    first, own = (relevant(composed(f"experiment={one}")) for one in ("individual_differences", name))
    changed = {line.split(": ")[0] for line in differences(first, own)}
    assert changed == (other | {"name"} if name != "individual_differences" else set())
    command = shlex.split((conf_folder() / "experiment" / f"{name}.yaml").read_text().split("\n")[1].removeprefix("# "))
    assert command[:3] == ["orthotrace-train", "--multirun", f"experiment={name}"]
    swept = [one for one in OverridesParser.create().parse_overrides(command[3:]) if one.is_sweep_override()]
    assert {one.key_or_group for one in swept} == varied and len(swept) == len(command) - 3
    assert composed_all(command) == 1


def test_the_recipe():
    config = composed("experiment=individual_differences")
    assert (config.optimizer.lr, config.optimizer.momentum, config.optimizer.weight_decay) == (0.01, 0.9, 2e-5)
    assert (config.trainer.batch_size, config.trainer.max_epochs, config.trainer.gradient_clip_val) == (128, 350, 500)
    assert (list(config.scheduler["at"]), config.scheduler.gamma) == ([200, 250, 300], 0.1)
    assert (config.augmentation.flip, config.augmentation["shift"], config.augmentation.crop) == (0.5, 5, 0)
    assert (config.dataset.preparation, config.stream.validation, config.model.dropout) == ("gcn_zca", 0, 0.5)


def test_the_keys_of_an_experiment_made_of_another_and_of_a_stream_that_chooses_its_method():
    assert "dropout" in known_keys("train", {"experiment": "trajectory"})["model"]
    assert "at" in known_keys("train", {"experiment": "trajectory"})["scheduler"]

    def method(**choices: str) -> str:
        return known_keys("train", choices)["method"]["_target_"].rpartition(".")[2]

    assert (method(), method(stream="single"), method(stream="single", method="gpm")) == ("HLOP", "Finetune", "GPM")
    # An experiment's word is above its stream's.
    assert method(experiment="cifar100_superclasses", stream="single") == "GPM"
    assert composed("experiment=cifar100_superclasses", "stream=single").method._target_.endswith("GPM")


def test_spiking_and_ordinary_networks_of_a_study_have_the_same_layers():
    own = ("experiment=spiking_differences",)
    plain, spiking = (composed(*own, f"model={name}") for name in ("mlp", "spiking_mlp"))
    assert {line.split(": ")[0].split(".")[0] for line in differences(relevant(plain), relevant(spiking))} == {"model"}
    layers = [
        dict(instantiate(one.model, shape=[1, 28, 28], classes=10).named_parameters()) for one in (plain, spiking)
    ]
    assert [{name: value.shape for name, value in of.items() if value.ndim} for of in layers] == [
        {"fc1.weight": (256, 784), "fc2.weight": (256, 256), "head.weight": (10, 256)}
    ] * 2
    assert composed_all(["orthotrace-train", *own, "model=spiking_mlp", "model.learning=bptt", "model.steps=6"]) == 1
