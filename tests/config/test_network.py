"""Networks from configurations: orthogonal weights chosen on the command line, trained, and rebuilt."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from composed import ADAPTED, GROUPS, NAMED, built, composed
from conftest import TINY, snapshot
from hydra.utils import get_object
from omegaconf import OmegaConf
from part import part
from torch import nn
from torch.nn.utils import parametrize

from orthotrace import load
from orthotrace.config.build import write_hydra
from orthotrace.config.folder_names import relevant
from orthotrace.config.network import make_network
from orthotrace.core.errors import UserError
from orthotrace.layers import adapters, deviations, orthogonalise
from orthotrace.layers.crossbar import Crossbar
from orthotrace.layers.normalisation import is_normalisation
from orthotrace.layers.quantised import SAWB
from orthotrace.results.run_folder import Run

SHAPE = (1, 8, 8)
# A module of the user's own, whose constructor has an argument by the name of the group.
MINE = """
from torch import nn

class Mine(nn.Sequential):
    def __init__(self, shape, classes, weights="none"):
        super().__init__(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, classes))
        self.trained_on = weights
"""


def made(*overrides: str) -> nn.Module:
    torch.manual_seed(0)
    return make_network(composed("model.hidden=[24]", *overrides), SHAPE, 10)


def test_the_model_is_instantiated_without_the_weights_and_left_alone_where_they_are_free():
    free, own = made(), made("weights=own", "model.weights.group=5")
    plain = get_object("orthotrace.models.mlp.MLP")
    torch.manual_seed(0)
    expected = plain(SHAPE, 10, hidden=[24])
    assert all(value.equal(expected.state_dict()[name]) for name, value in free.state_dict().items())
    assert type(own) is plain and own.fc1.parametrizations.weight.original.equal(expected.fc1.weight)
    assert own.fc1.parametrizations.weight[0].count == 5 and own.head.weight.equal(expected.head.weight)


# What takes no images is in test_leaky_rnn.
MODELS = [option for option in GROUPS["model"] if option not in (*NAMED, "leaky_rnn")]
RECURRENT = ("elman", "rnn", "lstm", "gru")
NEEDED = {"vit": ("model.patch=19",), **dict.fromkeys(RECURRENT, ("model.reading=rows",))}
HARDWARE = ("adder", "sawb", "memristor")
PAIRS = [(model, option) for model in MODELS for option in GROUPS["weights"]]


def in_turn(pair: tuple[str, str]) -> bool:
    """Each model with one kind of weights, in turn."""
    return MODELS.index(pair[0]) % len(GROUPS["weights"]) == GROUPS["weights"].index(pair[1])


def with_adapters(model: str, config) -> None:
    """Low-rank updates of Linear layers and attention, where there are some beside the readout."""
    config.model.weights.rank = 1
    plain = make_network(composed(f"model={model}", "model.width=0.1", *NEEDED.get(model, ())), (3, 19, 19), 4)
    linear = [name for name, one in plain.named_modules() if isinstance(one, nn.Linear)]
    if len(linear) < 2:
        with pytest.raises(UserError, match="has no Linear layer and no attention beside its readout"):
            make_network(config, (3, 19, 19), 4)
        return
    found = make_network(config, (3, 19, 19), 4)
    assert {one.name for one in adapters(found)} >= set(linear[:-1])


def of_hardware(model: str, option: str, config) -> None:
    """Weights of hardware, where a network has layers and normalisation for them."""
    plain = make_network(composed(f"model={model}", "model.width=0.1", *NEEDED.get(model, ())), (3, 19, 19), 4)
    layers = [name for name, one in plain.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))]
    readout = [name for name in layers if isinstance(plain.get_submodule(name), nn.Linear)][-1:]
    names = [name for name in layers if name not in readout]
    if option == "sawb" and len(names) < 2:
        with pytest.raises(UserError, match="beside its first layer and its readout; name them"):
            make_network(config, (3, 19, 19), 4)
        return
    if option == "adder" and not any(map(is_normalisation, plain.modules())):
        with pytest.raises(UserError, match="take a model with normalisation"):
            make_network(config, (3, 19, 19), 4)
        return
    found = make_network(config, (3, 19, 19), 4)
    kinds = {"sawb": SAWB, "memristor": Crossbar}
    for name in names[option == "sawb" :]:
        layer = found.get_submodule(name)
        if option == "adder":
            assert name.endswith(".out_proj") or type(layer).__name__.startswith("Adder")
        else:
            assert type(layer.parametrizations.weight[0]) is kinds[option]
    assert found.eval()(torch.zeros(2, 3, 19, 19)).shape == (2, 4)


@pytest.mark.parametrize(("model", "option"), part(PAIRS, in_turn))
def test_every_model_takes_every_kind_of_weights(model, option):
    config = composed(f"model={model}", f"weights={option}", "model.width=0.1", *NEEDED.get(model, ()))
    if option == "lora":
        with_adapters(model, config)
        return
    # What learns from images does so later, see pretrain.
    if model in RECURRENT and option not in ("free", "rbm_init"):
        with pytest.raises(UserError, match="has no Linear layer and no convolution beside its"):
            make_network(config, (3, 19, 19), 4)
        return
    if option in HARDWARE:
        of_hardware(model, option, config)
        return
    found = make_network(config, (3, 19, 19), 4)
    layers = [name for name, one in found.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))]
    # The readout stays free: a Linear layer, which an all-convolutional network has not.
    readout = [name for name in layers if isinstance(found.get_submodule(name), nn.Linear)][-1:]
    assert readout == ([] if model.startswith("all_cnn") else layers[-1:])
    assert list(deviations(found)) == (
        [name for name in layers if name not in readout] if option in ("own", "oni", "stiefel") else []
    )
    assert found.eval()(torch.zeros(2, 3, 19, 19)).shape == (2, 4)
    # The configuration stays whole: it is written beside the run.
    assert OmegaConf.select(config, "model.weights.kind") == (None if option == "free" else option)


def test_a_module_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    custom = ("model=custom", "model._target_=mine.Mine")
    own = make_network(composed(*custom, "weights=own", "model.weights.layers=['1']"), SHAPE, 10)
    assert list(deviations(own)) == ["1"] and own.trained_on == "none"
    # What is no choice of ours goes to the module.
    assert make_network(composed(*custom, "+model.weights=faces"), SHAPE, 10).trained_on == "faces"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["weights=own", "model.weights.group=0"], "model.weights.group: input should be greater than or equal to 1"),
        (
            ["weights=oni", "model.weights.layers=[fc7]"],
            "model.weights.layers: there is no Linear layer or convolution",
        ),
        (["weights=own", "+model.weights.x=1"], "model.weights.x: no such option"),
        (["weights=own", "model.weights.kind=onw"], "model.weights.kind: there is no kind 'onw'"),
        (["weights=own", "model.hidden=[]"], "model.weights.layers: the model has no Linear layer and no convolution"),
        (["weights=own", "model.hidden=[-1]"], "model.hidden: input should be greater than or equal to 1"),
    ],
)
def test_mistakes_are_named_by_their_path(overrides, line):
    with pytest.raises(UserError) as refused:
        made(*overrides)
    assert str(refused.value).startswith(line)


WRONG = {
    "model.weights.group=3": "model.weights.group: no such key; the chosen weights has no keys",
    "weights=own weights.group=3": "weights.group: no such key; did you mean 'model.weights.group'?",
    "+weights.group=3": "weights: no such key",
    "weights=own model.weights.gruop=3": "model.weights.gruop: no such key; did you mean 'model.weights.group'?",
    "weights=onw": "weights=onw: no such option; did you mean 'own'?",
    "weights=own model.weights.scale=0": "model.weights.scale: input should be greater than 0",
    **{
        f"weights=own method={method} {keys}": "method: the weight of layer 'fc1' is parametrised"
        for method, keys in {"gpm": "", "hlop": "method.rows=2", "trgp": "", "owm": "", "nscl": ""}.items()
    },
}


@pytest.mark.parametrize("overrides", part(WRONG, lambda one: "method=" not in one or "=gpm" in one))
def test_a_mistake_is_one_line(train, tmp_path, overrides):
    method = [] if "method" in overrides else ["method=finetune"]
    answer = train(*TINY, *method, *overrides.split())
    assert answer.code == 2 and answer.err.startswith(f"error: {WRONG[overrides]}"), answer.err
    assert len(answer.err.strip().split("\n")) == 1 and not snapshot(tmp_path)


# Of a network with one hidden layer there is none between the first and the readout, and adder layers need another.
FITTING = {
    "adder": ("model=convnet", "model.channels=[4]"),
    "sawb": ("model.weights.layers=[fc1]", "model.weights.activation_bits=2"),
    "memristor": ("model.weights.write_noise=.05", "model.weights.read_noise=.05"),
}


@pytest.mark.parametrize("option", GROUPS["weights"])
def test_every_kind_trains_and_its_checkpoint_gives_the_network_back(tmp_path, option):
    run = Run(tmp_path / "run")
    tiny = (one for one in TINY if option != "adder" or "hidden" not in one)
    chosen = (*tiny, f"weights={option}", *FITTING.get(option, ()))
    experiment = built(run, *chosen, "stream=permuted", "method=finetune")
    start = copy.deepcopy(experiment.learner.model)
    assert experiment.run().finished
    write_hydra(run.hydra, composed(*chosen), OmegaConf.create({"overrides": {"task": []}}))
    inputs = experiment.stream.test(1).inputs()
    model, found = experiment.learner.model.eval(), run.network()
    assert found(inputs).equal(model(inputs)) and not found(inputs).equal(start.eval()(inputs))
    assert found.state_dict().keys() == model.state_dict().keys()
    assert list(deviations(found)) == (["fc1"] if option in ("own", "oni", "stiefel") else [])
    assert option == "oni" or all(value <= 1e-4 for value in deviations(found).values())


def test_a_run_from_before_there_was_the_choice(train, tmp_path):
    assert train(*TINY, "method=finetune", "hydra.run.dir=run").code == 0
    written = OmegaConf.load(tmp_path / "run" / ".hydra" / "config.yaml")
    assert "weights" not in written.model and not parametrize.is_parametrized(load(tmp_path / "run").fc1)


@pytest.mark.parametrize("method", ["ewc", "si", "lwf", "er"])
def test_methods_that_look_at_parameters_work_with_orthogonal_weights(train, tmp_path, method):
    answer = train(*TINY, f"method={method}", "weights=own", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert deviations(load(tmp_path / "run"))["fc1"] <= 1e-4


# Nobody changes what it gives.
options = functools.cache(composed)
SMALL = ("model=convnet", "model.channels=[6]")
CONCEPTS = ("concepts=classes", "concepts.layer=bn1")
KINDS = [option for option in GROUPS["weights"] if option not in ("free", "lora", "rbm_init", "sawb")]
NAMED_LAYER = ("weights=sawb", "model.weights.layers=[conv1]", "model.weights.activation_bits=3")


def started(weights, *overrides: str) -> nn.Module:
    torch.manual_seed(1)
    return make_network(options(*SMALL, *overrides), SHAPE, 10, ["one", "two"], weights)


def states(*overrides: str) -> dict:
    """Of a network that was drawn, its statistics moved."""
    torch.manual_seed(0)
    model = make_network(options(*SMALL, *overrides), SHAPE, 10, ["one", "two"])
    model(torch.randn(64, *SHAPE))
    return copy.deepcopy(model.state_dict())


@pytest.mark.parametrize(
    "overrides", [(), CONCEPTS, *((f"weights={kind}",) for kind in KINDS), (*CONCEPTS, "weights=own"), NAMED_LAYER]
)
def test_a_network_starts_from_the_weights_of_one_of_its_own_configuration(overrides):
    weights = states(*overrides)
    found = started(weights, *overrides).state_dict()
    assert found.keys() == weights.keys()
    assert all(value.equal(found[name]) for name, value in weights.items())


def test_a_network_with_adapters_starts_from_its_own_weights_and_from_plain_ones():
    overrides = ("model=vit", "model.features=8", "model.depth=1")
    torch.manual_seed(0)
    plain, adapted = (make_network(options(*overrides, *more), SHAPE, 10).state_dict() for more in ((), ADAPTED))
    torch.manual_seed(1)
    found = make_network(options(*overrides, *ADAPTED), SHAPE, 10, weights=adapted).state_dict()
    assert found.keys() == adapted.keys() and all(value.equal(found[name]) for name, value in adapted.items())
    found = make_network(options(*overrides, *ADAPTED), SHAPE, 10, weights=plain).state_dict()
    for name, value in plain.items():
        owner, _, last = name.rpartition(".")
        assert value.equal(found.get(name, found.get(f"{owner}.parametrizations.{last}.original")))


@pytest.mark.parametrize("kind", ["own", "oni", "stiefel"])
def test_orthogonal_weights_start_from_those_nearest_to_plain_ones(kind):
    weights = states()
    found = started(weights, f"weights={kind}")
    # The same that a network has which is drawn so: what is computed of a weight is computed of the one it starts from.
    plain = get_object("orthotrace.models.convnet.ConvNet")(SHAPE, 10, channels=[6])
    plain.load_state_dict(weights)
    config = OmegaConf.to_container(options(*SMALL, f"weights={kind}").model.weights)
    orthogonalise(plain, **config)
    assert found.conv1.weight.equal(plain.conv1.weight) and found.head.weight.equal(weights["head.weight"])


@pytest.mark.parametrize("weights_of", [(), ("weights=own",)])
def test_a_concept_layer_begins_with_what_the_layer_knew_whose_place_it_takes(weights_of):
    weights = states(*weights_of)
    found = started(weights, *CONCEPTS, *weights_of)
    assert found.bn1.mean.equal(weights["bn1.running_mean"]) and found.head.weight.equal(weights["head.weight"])


def test_weights_that_fit_no_stage_of_a_network_are_refused():
    with pytest.raises(UserError, match="^init_from: the network has other weights: .* has no"):
        started(states(*CONCEPTS), "weights=own")


@pytest.mark.parametrize("kind", ["alignment", "sign_symmetric"])
@pytest.mark.parametrize("model", ["mlp", "spiking_mlp"])
def test_any_model_takes_other_ways_back(tmp_path, kind, model):
    option = (f"model={model}", f"+model.feedback={kind}")
    network, plain = made(*option), made(f"model={model}")
    kept = network.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in plain.state_dict().items())
    assert set(kept) - set(plain.state_dict()) == {
        f"{layer}.{'feedback' if kind == 'alignment' else 'feedback_size'}" for layer in ("fc1", "head")
    }
    # Weights that were trained without it, and with it.
    torch.manual_seed(1)
    for weights in (plain.state_dict(), kept):
        again = make_network(composed("model.hidden=[24]", *option), SHAPE, 10, weights=weights)
        assert torch.equal(again.head.weight, plain.head.weight)
    assert torch.equal(again.state_dict()[next(key for key in kept if "feedback" in key)], next(
        value for key, value in kept.items() if "feedback" in key
    ))  # fmt: skip
    told = [relevant(composed(f"model={model}", *more)) for more in ((), ("+model.feedback=backprop",))]
    assert told[0] == told[1]


def test_another_way_back_needs_weights_that_are_free():
    with pytest.raises(UserError, match="model.feedback: the weight of layer 'fc1' is parametrised"):
        made("weights=own", "+model.feedback=alignment")
