"""Concept axes while a network trains: what turns them, what holds them, and what a run keeps of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from composed import ADAPTERS, GROUPS, KEYS, MEMORY, StopError, Stopping, built, configured
from conftest import snapshot
from images import write_tables
from omegaconf import OmegaConf
from part import part
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.layers import ConceptWhitening
from orthotrace.linalg import is_orthonormal
from orthotrace.results.run_folder import Run, load
from orthotrace.training.concept_alignment import Alignment, layer_inputs
from orthotrace.training.experiment import Experiment
from orthotrace.training.tracking import Tracker

# Runs of a few steps: statistics lag behind, all concepts look the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*the mean features of")

SMALL = ("stream=permuted", "stream.tasks=2", "model=convnet", "model.channels=[6]", "trainer.max_epochs=1",
         "trainer.batch_size=256", "trainer.accelerator=cpu", "concepts=classes", "concepts.sets.classes=[0,1,7]",
         "concepts.sets.limit=500", "concepts.layer=bn1", "concepts.every=2")  # fmt: skip
FINETUNE = ("method=finetune", *SMALL)
GPM = ("method=gpm", "method.rows=2", "method.patches=20", *SMALL)


def made(run: Run, *overrides: str, tracker: Tracker | None = None) -> Experiment:
    """An experiment, with its configuration kept as the command keeps it."""
    experiment = built(run, *overrides, tracker=tracker)
    run.hydra.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(configured(*overrides), run.hydra / "config.yaml")
    return experiment


def trained(folder: Path, *overrides: str) -> tuple[Run, Experiment]:
    experiment = made(run := Run(folder), *overrides)
    experiment.run()
    return run, experiment


def alignment_of(experiment: Experiment) -> Alignment:
    (found,) = [one for one in experiment.trainer.callbacks if isinstance(one, Alignment)]
    return found


def layer_of(model: nn.Module, name: str = "bn1") -> ConceptWhitening:
    layer = model.get_submodule(name)
    assert isinstance(layer, ConceptWhitening)
    return layer


def objective(model: nn.Module, layer: ConceptWhitening, part, names) -> float:
    """On images that nothing was aligned by."""
    total = 0.0
    for number, name in enumerate(names):
        (inputs,) = layer_inputs(model, [layer], part, part.has[:, number].nonzero().flatten())
        with torch.no_grad():
            total += float(layer.concept_activations(layer.eval()(inputs))[:, layer.axes.names.index(name)].mean())
    return total


@pytest.mark.parametrize("rotation", ["aligned", "trained"])
def test_axes_align_while_the_network_trains(tmp_path, rotation):
    weight = ["concepts.weight=30", "concepts.every=1"] if rotation == "trained" else []
    _, experiment = trained(
        tmp_path, *FINETUNE, "stream.tasks=1", "trainer.max_epochs=2", "trainer.batch_size=64",
        f"concepts.whitening.rotation={rotation}", *weight,
    )  # fmt: skip
    model, sets = experiment.learner.model, alignment_of(experiment).sets.as_in_task(experiment.stream, 0)
    layer = layer_of(model)
    assert is_orthonormal(layer.rotation.detach(), 1e-4)
    found = objective(model, layer, sets.test, sets.names)
    draws = torch.Generator().manual_seed(0)
    others = []
    for _ in range(30):
        layer.rotation = torch.linalg.qr(torch.randn(6, 6, generator=draws))[0]
        others.append(objective(model, layer, sets.test, sets.names))
    assert found > max(others)


def test_draws_follow_from_seed_and_step_alone(tmp_path):
    _, experiment = trained(tmp_path, *FINETUNE, "stream.tasks=1")
    alignment, model = alignment_of(experiment), experiment.learner.model

    def seen(step: int, seed: int = 0) -> torch.Tensor:
        alignment.seed = seed
        ((_, (inputs, masks)),) = alignment._seen(model, [layer_of(model)], step)
        assert not masks and list(inputs) == ["0", "1", "7"]
        return torch.cat(list(inputs.values()))

    first = seen(4)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert torch.equal(seen(4), first) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(seen(6), first) and not torch.equal(seen(4, seed=1), first)


@pytest.mark.parametrize("rotation", ["aligned", "trained"])
@pytest.mark.parametrize("freeze", [True, False])
def test_a_frozen_layer_stays_as_the_first_task_left_it(tmp_path, freeze, rotation):
    run, _ = trained(
        tmp_path, *FINETUNE, f"concepts.freeze={freeze}", f"concepts.whitening.rotation={rotation}", "optimizer.lr=.1"
    )
    first, second = run.network(1), run.network(2)
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
    for name in ("rotation", "mean", "covariance", "samples"):
        assert torch.equal(getattr(first.bn1, name), getattr(second.bn1, name)) == freeze, name
    assert bool(second.bn1.held.all()) == (freeze and rotation == "aligned")


def test_a_trained_rotation_cannot_be_frozen_before_all_concepts_came(tmp_path):
    with pytest.raises(UserError, match="comes after the first task, with which a trained rotation is frozen"):
        trained(tmp_path, *SPLIT, "concepts.sets.classes=all", "model.channels=[12]",
                "concepts.freeze=true", "concepts.whitening.rotation=trained")  # fmt: skip


def test_where_every_task_begins_anew_a_trained_rotation_may_be_frozen(tmp_path):
    trained(tmp_path, "method=independent", *SPLIT[1:], "concepts.sets.classes=all", "model.channels=[12]",
            "concepts.freeze=true", "concepts.whitening.rotation=trained")  # fmt: skip


SPLIT = ("method=finetune", *SMALL[2:], "stream=split", "stream.tasks=2", "stream.classes_per_task=2",
         "stream.scenario=class", "trainer.batch_size=64")  # fmt: skip


def test_classes_that_are_taught_later_take_free_axes_alone(tmp_path):
    run, experiment = trained(
        tmp_path, *SPLIT, "concepts.sets.classes=all", "model.channels=[12]", "concepts.freeze=true"
    )
    later = [digits().classes.index(name) for name in experiment.stream.names[1]]
    # Those that no task teaches are known from the start.
    known = [number for number in range(10) if number not in later]
    first, second = layer_of(run.network(1)), layer_of(run.network(2))
    assert first.weight_seen.nonzero().flatten().tolist() == known
    assert bool((second.weight_seen > 0).all())
    assert second.held.nonzero().flatten().tolist() == known
    assert torch.allclose(first.rotation[known], second.rotation[known], atol=1e-5)
    assert float((first.rotation[later] - second.rotation[later]).abs().max()) > 0.1
    assert is_orthonormal(second.rotation, 1e-4)


def test_a_task_without_any_concept_turns_nothing(tmp_path):
    names = built(Run(tmp_path / "names"), *SPLIT).stream.names
    run, _ = trained(tmp_path / "run", *SPLIT, f"concepts.sets.classes=[{names[1][0]}]")
    assert torch.equal(layer_of(run.network(1)).rotation, torch.eye(6)) and int(layer_of(run.network(1)).updates) == 0
    assert not torch.equal(layer_of(run.network(2)).rotation, torch.eye(6))


CUT = {
    "within the first task": ((1, 2), FINETUNE),
    "between tasks": ((2, 1), FINETUNE),
    "within a later task, not frozen": ((2, 2), (*FINETUNE, "concepts.freeze=false", "concepts.every=5")),
    "a trained rotation": ((2, 2), (*FINETUNE, "concepts.whitening.rotation=trained")),
    "an average": ((2, 2), (*FINETUNE, "regularizer.average=.5")),
    "a guard": ((2, 2), GPM),
    "normalisation by task": ((2, 2), (*GPM, "stream.scenario=task", "method.normalisation=task", "concepts.freeze=false")),
}  # fmt: skip


@pytest.mark.parametrize("case", part(CUT, [case for case in CUT if case not in ("between tasks", "an average")]))
def test_a_run_that_was_stopped_ends_the_same(tmp_path, case):
    place, overrides = CUT[case]
    overrides = (*overrides, "trainer.max_epochs=2", "trainer.save_every=0", "trainer.batch_size=500")
    whole, _ = trained(tmp_path / "whole", *overrides)
    experiment = made(cut := Run(tmp_path / "cut"), *overrides, tracker=Stopping(*place))
    with pytest.raises(StopError):
        experiment.run()
    trained(cut.folder, *overrides)
    expected, found = (torch.load(run.last, weights_only=True)["state_dict"] for run in (whole, cut))
    assert expected.keys() == found.keys() and any("bn1.directions" in key for key in found)
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key


def test_a_trained_rotation_takes_the_gradient_of_both(tmp_path):
    runs = {weight: trained(tmp_path / str(weight), *FINETUNE, "stream.tasks=1", f"concepts.weight={weight}",
                            "concepts.whitening.rotation=trained") for weight in (0, 9)}  # fmt: skip
    rotations = [layer_of(experiment.learner.model).rotation.detach() for _, experiment in runs.values()]
    # That of the loss alone turns it; the concepts turn it elsewhere.
    assert not torch.allclose(rotations[0], torch.eye(6), atol=1e-4)
    assert not torch.allclose(rotations[0], rotations[1], atol=1e-4)
    experiment = runs[9][1]
    alignment, learner = alignment_of(experiment), experiment.learner.train()
    layer = layer_of(learner.model)
    (parameter,) = layer.parameters()
    learner.step = 6
    parameter.grad = torch.ones_like(parameter)
    alignment.before_step(None, learner)
    ((_, (inputs, masks)),) = alignment._seen(learner.model, [layer], 6)
    (expected,) = torch.autograd.grad(9 * layer.concept_loss(inputs, masks), [parameter])
    assert float(expected.norm()) > 0 and torch.allclose(parameter.grad, 1 + expected)
    # Between two updates, and in a layer that is held, nothing.
    learner.step = 7
    alignment.before_step(None, learner)
    learner.step = 6
    layer.eval()
    alignment.before_step(None, learner)
    assert torch.allclose(parameter.grad, 1 + expected)


@pytest.mark.parametrize("batches", [1, 2])
def test_updates_count_steps_of_the_optimizer(tmp_path, batches):
    _, experiment = trained(
        tmp_path, *FINETUNE, "trainer.max_epochs=2", f"trainer.accumulate_grad_batches={batches}", "concepts.every=3"
    )
    assert int(layer_of(experiment.learner.model).updates) == experiment.learner.step // 3
    assert experiment.trainer.global_step == experiment.learner.step == 24 // batches


def test_several_layers_turn_together(tmp_path):
    run, experiment = trained(tmp_path, *FINETUNE, "model.channels=[6,8]", "concepts.layer=[bn1,bn2]")
    model, loaded = experiment.learner.model.eval(), load(run.folder)
    for name in ("bn1", "bn2"):
        assert int(layer_of(model, name).updates) > 2 and not torch.equal(
            layer_of(model, name).rotation, torch.eye(layer_of(model, name).channels)
        )
    inputs = experiment.stream.test(0).inputs()
    assert torch.equal(loaded(inputs), model(inputs))


PAIRS = [
    # Adapters go with no layer that keeps running statistics.
    *((method, "aligned") for method in GROUPS["method"] if method not in ADAPTERS),
    *((method, "trained") for method in ("ewc", "gpm", "lwf", "si")),
]


# One of each kind: no memory, its loss, its images, its subspace or another optimizer step, its networks.
KEPT = [("finetune", "aligned"), ("ewc", "aligned"), ("er", "aligned"), ("gpm", "aligned"), ("hlop", "aligned"),
        ("independent", "aligned"), ("gpm", "trained"), ("si", "trained")]  # fmt: skip


@pytest.mark.parametrize(("method", "rotation"), part(PAIRS, KEPT))
def test_every_method_trains_and_its_checkpoint_is_the_network(tmp_path, method, rotation):
    own = {"memory": ["method.memory.size=30"]} if method in MEMORY else {}
    own |= {"rows": ["method.rows=2"], "patches": ["method.patches=20"], "strength": ["method.strength=1"]}
    own |= {"alpha": ["method.alpha=.1"]} if method == "owm" else {}
    options = [one for key, given in own.items() if key in KEYS[method] for one in given]
    run, experiment = trained(
        tmp_path, f"method={method}", *SMALL, *options, f"concepts.whitening.rotation={rotation}",
        "concepts.freeze=true",
    )  # fmt: skip
    learner, stream = experiment.learner, experiment.stream
    assert experiment.progress.finished
    first, second = layer_of(run.network(1)), layer_of(run.network(2))
    inputs = stream.test(1).inputs()
    assert torch.equal(load(run.folder)(inputs), learner.method.kept(learner.model, stream.tasks - 1).eval()(inputs))
    assert is_orthonormal(second.rotation.detach(), 1e-4)
    if method == "independent":
        # It began anew, and so did the statistics: white again, and by its own.
        assert int(second.batches) == int(first.batches) > 0 and not torch.equal(first.mean, second.mean)
        assert not bool(second.held.any())
    else:
        assert torch.equal(first.mean, second.mean) and torch.equal(first.covariance, second.covariance)
        assert rotation == "trained" or torch.equal(first.rotation, second.rotation)
    if guard := getattr(learner.method, "guard", None):
        assert torch.equal(first.rotation, second.rotation) and int(second.updates) == int(first.updates)
        exact = all(space.exact for space in guard.subspaces.values())
        assert not exact or max(run.scores["leak"]) < 1e-5


def test_too_few_steps_are_told_and_the_network_is_left_as_it_was_trained(tmp_path):
    with pytest.warns(
        UserWarning, match="layer 'bn1': no step turned the axis of '0', so it means nothing: train long"
    ):
        run, _ = trained(tmp_path, *FINETUNE, "concepts.every=1000")
    # What is tested is what was trained.
    assert torch.equal(layer_of(run.network(2)).rotation, torch.eye(6))


def test_a_run_goes_on_with_the_concept_images_that_it_began_with(tmp_path):
    overrides = (*FINETUNE, "trainer.max_epochs=2", "trainer.save_every=0")
    experiment = made(run := Run(tmp_path), *overrides, tracker=Stopping(2, 1))
    with pytest.raises(StopError):
        experiment.run()
    saved = torch.load(run.last, weights_only=True)
    assert set(saved["orthotrace"]["digests"]) == {"dataset", "concepts"} == set(run.scores["digests"])
    other = made(run, *overrides)
    other.components.digests["concepts"] = "0"
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=r"concepts: the images of concepts are not those that .* began with: put them"):
        other.run()
    assert snapshot(tmp_path) == before
    made(run, *overrides).run()


@pytest.mark.parametrize(("options", "asked"), [(FINETUNE, 2), (GPM, 1)])
def test_concepts_are_compared_where_axes_are_turned(tmp_path, monkeypatch, options, asked):
    tasks = []
    monkeypatch.setattr(ConceptWhitening, "warn_of_neighbours", lambda layer, *seen: tasks.append(seen))
    trained(tmp_path, *options)
    assert len(tasks) == asked


@pytest.mark.parametrize("rotation", ["aligned", "trained"])
@pytest.mark.filterwarnings("ignore:.*directions are held, its weights cannot move any more")
def test_what_is_held_does_not_drift_through_the_layer(tmp_path, rotation):
    """All that the first task's images excite is held: their logits stay, whatever ``freeze`` says."""
    run, experiment = trained(
        tmp_path, "method=gpm", "method.energy=1.0", *SMALL, "concepts.freeze=false", "optimizer.lr=.2",
        f"concepts.whitening.rotation={rotation}",
    )  # fmt: skip
    inputs = experiment.stream.test(0).inputs()
    with torch.no_grad():
        first, second = run.network(1)(inputs), run.network(2)(inputs)
    assert float((first - second).abs().max()) < 1e-4 * float(first.abs().max())


@pytest.mark.parametrize("freeze", [True, False])
def test_normalisation_by_task(tmp_path, freeze):
    run, experiment = trained(
        tmp_path, *GPM, "stream.scenario=task", "method.normalisation=task", f"concepts.freeze={freeze}"
    )
    method, model = experiment.learner.method, experiment.learner.model
    kept = [layer_of(method.network(model, task)) for task in range(2)]
    assert torch.equal(kept[0].mean, layer_of(run.network(1)).mean)
    assert torch.equal(kept[0].rotation, layer_of(run.network(1)).rotation)
    # One for all tasks where it is frozen, else each its own.
    assert torch.equal(kept[0].mean, kept[1].mean) == torch.equal(kept[0].rotation, kept[1].rotation) == freeze


def test_an_average_of_the_weights_leaves_a_rotation(tmp_path):
    run, experiment = trained(tmp_path, *FINETUNE, "regularizer.average=.6", "concepts.freeze=false")
    layer = layer_of(experiment.learner.model)
    assert is_orthonormal(layer.rotation, 1e-4) and bool(layer.samples.isfinite())
    inputs = experiment.stream.test(0).inputs()
    assert torch.equal(load(run.folder)(inputs), experiment.learner.model.eval()(inputs))


@pytest.mark.parametrize(
    "options", [["regularizer.max_norm=.1"], ["regularizer.l2=10"], ["regularizer.dropconnect=.9"]]
)
def test_penalties_on_weights_leave_a_trained_rotation_alone(tmp_path, options):
    experiment = built(Run(tmp_path), *FINETUNE, "concepts.whitening.rotation=trained", *options)
    assert set(experiment.learner.regularizer._weights) == {"conv1.weight", "head.weight"}


CONV = ("model=convnet", "model.channels=[4]", "trainer.accelerator=cpu", "method=finetune")
CLASSES = ("concepts=classes", "concepts.sets.classes=[0,1]", "concepts.layer=bn1")
BAD = {
    "prepared images": (["concepts=strokes", "concepts.layer=bn1", "dataset.preparation=gcn"], "dataset.preparation: attributes are measured on images as they are"),
    "no layer": (["concepts=strokes"], "concepts.layer: name the normalisation layer"),
    "no layer in a list": (["concepts=strokes", "concepts.layer=[]"], "concepts.layer: name the normalisation layer"),
    "an unknown layer": ([*CLASSES, "concepts.layer=bn11"], "concepts.layer: there is no layer 'bn11'; did you mean 'bn1'?"),
    "a number": ([*CLASSES, "concepts.layer=3"], "concepts.layer: there is no layer '3'"),
    "no normalisation": ([*CLASSES, "concepts.layer=conv1"], "concepts.layer: layer 'conv1' (Conv2d) is no normalisation layer"),
    "too many concepts": ([*CLASSES, "concepts.sets.classes=all"], "concepts: layer 'bn1': 10 axes for concepts, but only 4 channels"),
    "one twice": ([*CLASSES, "concepts.sets.classes=[1,1]"], "concepts: layer 'bn1': there are two concepts '1'"),
    "an unknown attribute": ([*CLASSES, "concepts.sets.attributes=[thik]"], "concepts.sets.attributes: there is no attribute 'thik'"),
    "an unknown class": ([*CLASSES, "concepts.sets.classes=[11]"], "concepts.sets.classes: there is no class '11'"),
    "an unseen concept": ([*CLASSES, "concepts.sets.classes=all", "concepts.sets.limit=10"], "concepts.sets: the concept '"),
    "a rotation frozen too early": ([*CLASSES, "stream=split", "stream.tasks=5", "stream.scenario=class", "concepts.freeze=true", "concepts.whitening.rotation=trained", "concepts.sets.classes=[0,1,2,3]"], "concepts.freeze: the concept '"),
    "a weight of nothing": (["concepts=classes", "concepts.layer=bn1", "concepts.sets.classes=[0]", "concepts.weight=3"], "concepts.weight: only a trained rotation is weighed against the loss (got 3.0)"),
    "an empty folder": (["concepts=folder", "concepts.layer=bn1", "concepts.sets.path=empty"], "concepts.sets.path: empty has no folders of images"),
    "no folder": (["concepts=folder", "concepts.layer=bn1", "concepts.sets.path=nowhere"], "concepts.sets.path: there is no folder nowhere"),
    "no path": (["concepts=folder", "concepts.layer=bn1"], "concepts.sets.path: is missing; write concepts.sets.path=VALUE"),
    "every": ([*CLASSES, "concepts.every=0"], "concepts.every: input should be greater than or equal to 1 (got 0)"),
    "a weight": ([*CLASSES, "concepts.weight=-1"], "concepts.weight: input should be greater than or equal to 0 (got -1)"),
    "eps": ([*CLASSES, "concepts.whitening.eps=0"], "concepts.whitening.eps: "),
    "a size": ([*CLASSES, "+concepts.whitening.sizes={2:2}"], "concepts.whitening.sizes"),
    "a reduction": ([*CLASSES, "concepts.whitening.reduction=sum"], "concepts.whitening.reduction: "),
    "too few bits": ([*CLASSES, "trainer.precision=bf16-true"], "trainer.precision: bf16-true rounds small steps away"),
    "a key": ([*CLASSES, "concepts.evry=2"], "concepts.evry: no such key; did you mean 'concepts.every'?"),
    "an option": (["concepts=stroke"], "concepts=stroke: no such option; did you mean 'strokes'?"),
}  # fmt: skip


# Values of another type or out of their range are refused by name for every key in tests/config/test_schema.py.
@pytest.mark.parametrize(
    "case", part(BAD, lambda case: not any(one in BAD[case][1] for one in ("input should be", "no such")))
)
def test_a_mistake_is_one_line(train, tmp_path, case):
    overrides, line = BAD[case]
    (tmp_path / "empty").mkdir()
    answer = train(*CONV, *overrides)
    assert answer.code == 2 and answer.err.startswith(f"error: {line}"), answer.err
    assert answer.err.count("\n") == 1 and not snapshot(tmp_path)


def test_images_of_another_shape_are_one_line(tmp_path):
    of = write_tables(tmp_path / "data", side=12)
    overrides = (f"dataset.path={of}", "dataset=parquet", "concepts.sets.classes=[class0]")
    experiment = built(Run(tmp_path / "run"), *FINETUNE, *overrides)
    with pytest.raises(UserError, match=r"^sets: concept images have the shape \(1, 12, 12\), those of the stream"):
        Alignment(alignment_of(experiment).sets, Permuted(digits()))
