"""Several batches in a step of Lightning's loop: the same bits as one, and one where something must see each."""

import pytest
import torch
from composed import StopError
from pytorch_lightning.callbacks import (
    Callback,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateMonitor,
    StochasticWeightAveraging,
)

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.api import API
from orthotrace.methods.cuber import CUBER
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.methods.nscl import NSCL
from orthotrace.methods.owm import OWM
from orthotrace.methods.trgp import TRGP
from orthotrace.models.mlp import MLP
from orthotrace.protection import projected_inputs
from orthotrace.protection.projected_inputs import ProjectedInputs
from orthotrace.results.run_folder import Run, read_checkpoint
from orthotrace.training.chunks import AT_ONCE, HOOKS, BatchCallback, Stepping, obstacle
from orthotrace.training.experiment import Experiment
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.schedules import Step
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.trainer import make_trainer

# 11 batches an epoch: chunks that do not divide them, steps of several batches that do not end with a chunk.
SIZE, BATCHES = 128, 11
OPTIONS = {
    "plain": {},
    "clipped by norm": {"gradient_clip_val": 0.05},
    "clipped by value": {"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"},
    "accumulated": {"accumulate_grad_batches": 5, "gradient_clip_val": 0.05},
    "anomalies": {"detect_anomaly": True},
}


class Plain(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure):
        closure()
        return super().step()


OPTIMIZERS = {
    "momentum": lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9, nesterov=True),
    "decay": lambda parameters: torch.optim.SGD(parameters, 0.1, weight_decay=0.01),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.01),
    # It calls its closure without gradients.
    "without gradients": lambda parameters: Plain(parameters, 0.1),
    # It calls its closure several times in a step.
    "lbfgs": lambda parameters: torch.optim.LBFGS(parameters, 0.01, max_iter=3),
}


class Heard(BatchCallback):
    """Notes what it hears, and how far the counts of steps are."""

    def __init__(self):
        self.steps, self.batches = [], []

    def before_step(self, trainer, learner):
        self.steps.append((trainer.global_step, float(next(learner.model.parameters()).grad.norm())))

    def after_batch(self, trainer, learner, done, of):
        self.batches.append((trainer.global_step, learner.step, done, of, learner.recent(1)))


def made(
    folder, at_once, options=None, optimizer="momentum", callbacks=(), epochs=2, hidden=16, method=None, **penalties
) -> Experiment:
    stream = Permuted(digits(), tasks=2)
    torch.manual_seed(0)
    parts = Components(stream, MLP(stream.shape, 10, hidden=[hidden]), method or GPM(rows=3), Seeds())
    regularizer = Regularizer(dropout=0.1, **penalties)
    optimization = Optimization(OPTIMIZERS[optimizer], regularizer=regularizer, schedule=Step(every=1))
    training = Training.of(epochs, SIZE, save_every=0, batches_at_once=at_once)
    trainer = {"accelerator": "cpu", "devices": 1, **(options or {})}
    return Experiment(Run(folder), parts, optimization, training, trainer, callbacks=callbacks)


def state(run: Run) -> dict[str, torch.Tensor]:
    return read_checkpoint(run.last)["state_dict"]


def same(one: Run, other: Run) -> bool:
    first, second = state(one), state(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "without gradients", "lbfgs"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_bits_are_those_of_one_batch_at_once(tmp_path, options, optimizer):
    """And callbacks hear the same, in both ways, with gradients that are not clipped yet."""
    heard, rows = {}, {}
    for at_once in (1, 5, "auto"):
        callback = Heard()
        experiment = made(tmp_path / str(at_once), at_once, options, optimizer, [callback])
        assert experiment.learner.stepping.at_once == {1: 1, 5: 5, "auto": AT_ONCE}[at_once]
        rows[at_once] = experiment.run().epochs
        heard[at_once] = (callback.steps, callback.batches)
    steps = 4 * -(-BATCHES // options.get("accumulate_grad_batches", 1))
    assert [row["step"] for row in rows[1]] == [steps * part // 4 for part in (1, 2, 3, 4)]
    assert heard[1] == heard[5] == heard["auto"] and rows[1] == rows[5] == rows["auto"]
    assert [batch[2:4] for batch in heard[1][1]] == 4 * [(done, BATCHES) for done in range(1, BATCHES + 1)]
    assert heard[1][1][-1][:2] == (steps, steps)
    one, five, auto = (Run(tmp_path / name) for name in ("1", "5", "auto"))
    assert same(one, five) and same(one, auto)
    assert one.metrics_file.read_bytes() == five.metrics_file.read_bytes() == auto.metrics_file.read_bytes()


class End(BatchCallback):
    """A process that ends within a chunk."""

    def after_batch(self, trainer, learner, done, of):
        if trainer.current_epoch == 1 and done == 3:
            raise StopError


@pytest.mark.parametrize(("before", "after"), [(5, 5), (1, 5), (5, 1), ("auto", "auto")])
def test_a_run_that_ended_within_a_chunk_ends_the_same(tmp_path, before, after):
    made(tmp_path / "whole", 1, epochs=3).run()
    with pytest.raises(StopError):
        made(tmp_path / "cut", before, epochs=3, callbacks=[End()]).run()
    continued = made(tmp_path / "cut", after, epochs=3)
    continued.run()
    assert same(Run(tmp_path / "whole"), Run(tmp_path / "cut"))
    assert continued.learner.step == 2 * 3 * BATCHES
    assert Run(tmp_path / "whole").metrics_file.read_bytes() == Run(tmp_path / "cut").metrics_file.read_bytes()


def fitted(monkeypatch) -> list[str]:
    """Notes the layers whose gradients are made of projected inputs, at the start of each task; any are worth it."""
    layers, made = [], ProjectedInputs.__init__
    monkeypatch.setattr(projected_inputs, "WORTH", 1)
    monkeypatch.setattr(
        ProjectedInputs,
        "__init__",
        lambda self, part, *rest: (made(self, part, *rest), layers.append(part.features))[0],
    )
    return layers


@pytest.mark.parametrize("method", [GPM, HLOP])
def test_the_bits_are_the_same_where_inputs_are_projected(tmp_path, monkeypatch, method):
    """Of a layer wider than the batch; and the weights those of steps that are projected, but for rounding."""
    runs = {}
    for at_once, cut in ((1, False), (5, False), ("auto", False), (5, True)):
        layers = fitted(monkeypatch)
        run = runs[at_once, cut] = Run(tmp_path / f"{at_once} {cut}")
        if cut:
            with pytest.raises(StopError):
                made(run.folder, at_once, callbacks=[End()], hidden=512, method=method(rows=3)).run()
            assert layers == []
        made(run.folder, at_once, hidden=512, method=method(rows=3)).run()
        # In the first task nothing is held.
        assert layers == [64, 512]
    one, *others = runs.values()
    assert all(same(one, other) for other in others)
    monkeypatch.setattr(projected_inputs, "WORTH", 2**62)
    made(tmp_path / "steps", 1, hidden=512, method=method(rows=3)).run()
    plain = state(Run(tmp_path / "steps"))
    for key, value in state(one).items():
        if key.startswith("model."):
            torch.testing.assert_close(value, plain[key], rtol=0, atol=1e-4)


def hearing(hook):
    return type("Own", (Callback,), {hook: lambda *args: None})()


class Reading(GPM):
    """A method derived from one that reads no gradient may read some: in on_step, or in its loss."""


class Told(GPM):
    reads_gradients = False


class Ending(Callback):
    """Hears of no batch, but may read gradients where an epoch ends."""


# What must not be: gradients without what is held are neither clipped, nor read, nor scaled as those of the loss.
FULL = {
    "clipped by norm": {"options": {"gradient_clip_val": 0.05}},
    "clipped by value": {"options": {"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"}},
    "adam": {"optimizer": "adam"},
    "a class derived from SGD": {"optimizer": "without gradients"},
    "weight decay": {"optimizer": "decay"},
    "a penalty": {"l2": 0.01},
    "bounded weights": {"max_norm": 0.7},
    "a callback that hears of batches": {"callbacks": [Heard()]},
    "a callback that hears of none": {"callbacks": [Ending()]},
    "functions as a callback": {"callbacks": [LambdaCallback(on_train_epoch_end=lambda *given: None)]},
    "a callback of Lightning's": {"callbacks": [hearing("on_train_batch_end")]},
    "another precision": {"options": {"precision": "bf16-mixed"}},
    "a method that may change gradients": {"method": Reading(rows=3)},
    "one that may read them": {"method": OWM(alpha=1.0)},
    "one without projections": {"method": Finetune()},
    "a soft projection": {"method": GPM(rows=3, hold=0.5)},
    "projected gradients": {"method": GPM(rows=3, rule="gradient")},
}


@pytest.mark.parametrize("given", FULL.values(), ids=FULL)
def test_else_gradients_are_those_of_the_loss(tmp_path, monkeypatch, given):
    layers = fitted(monkeypatch)
    made(tmp_path, "auto", hidden=512, epochs=1, **given).run()
    assert layers == []


HOLDING = (Told(rows=3), NSCL(), TRGP(rows=3), API(rows=3), CUBER(rows=3))


@pytest.mark.parametrize(
    "given",
    [{}, {"optimizer": "nesterov"}, {"options": {"accumulate_grad_batches": 3}}, *({"method": one} for one in HOLDING)],
    ids=["momentum", "nesterov", "accumulated", "told", "nscl", "trgp", "api", "cuber"],
)
def test_inputs_are_projected_where_steps_are_linear(tmp_path, monkeypatch, given):
    layers = fitted(monkeypatch)
    experiment = made(tmp_path, "auto", hidden=512, epochs=1, **given)
    experiment.run()
    assert layers == [64, 512]
    assert max(experiment.report()["leak"]) < 1e-6


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_on_a_network_whose_run_has_failed(tmp_path, monkeypatch, error):
    class Failing(BatchCallback):
        def after_batch(self, trainer, learner, done, of):
            if learner.context.number == 1 and done == 2:
                raise error

    Failing.__module__ = "orthotrace.own"
    layers = fitted(monkeypatch)
    experiment = made(tmp_path, "auto", hidden=512, callbacks=[Failing()])
    layer = experiment.learner.model.fc1
    before = len(layer._forward_pre_hooks), len(layer._forward_hooks)
    with pytest.raises((error, SystemExit)):
        experiment.run()
    assert layers == [64, 512] and (len(layer._forward_pre_hooks), len(layer._forward_hooks)) == before


class Enough(BatchCallback):
    """Asks for the end within a chunk."""

    def after_batch(self, trainer, learner, done, of):
        trainer.should_stop |= done == 3


def test_a_stop_is_heard_after_the_batch(tmp_path):
    steps = []
    for at_once in (1, 5, "auto"):
        experiment = made(tmp_path / str(at_once), at_once, callbacks=[Enough()])
        experiment.run()
        steps.append(experiment.learner.step)
    assert steps == [6, 6, 6] and same(Run(tmp_path / "1"), Run(tmp_path / "auto"))


NEEDS = {
    **{f"Own.{hook}": {"callbacks": [hearing(hook)]} for hook in HOOKS},
    "LearningRateMonitor.on_train_batch_start": {"callbacks": [LearningRateMonitor()]},
    "GradientAccumulationScheduler": {"callbacks": [GradientAccumulationScheduler({0: 2})]},
    "a run in several processes": {"devices": 2},
    "trainer.precision": {"precision": "bf16-mixed"},
    "trainer.profiler": {"profiler": "simple"},
    "trainer.limit_train_batches": {"limit_train_batches": 0.5},
    "trainer.limit_train_batches ": {"limit_train_batches": 1},
    "trainer.val_check_interval": {"val_check_interval": 1},
    "LambdaCallback.on_train_batch_end": {"callbacks": [LambdaCallback(on_train_batch_end=lambda *args: None)]},
    "StochasticWeightAveraging": {"callbacks": [StochasticWeightAveraging(0.01)]},
    "trainer.max_steps": {"max_steps": 7},
    "trainer.min_steps": {"min_steps": 7},
}


@pytest.mark.parametrize(("reason", "options"), NEEDS.items(), ids=NEEDS)
def test_what_must_see_each_batch_does(tmp_path, reason, options):
    callbacks = options.get("callbacks", [])
    trainer = make_trainer(
        {
            "accelerator": "cpu",
            "devices": 1,
            "enable_checkpointing": False,
            **{key: one for key, one in options.items() if key != "callbacks"},
        },
        callbacks,
        tmp_path,
    )
    reason = reason.strip()
    assert obstacle(trainer) == reason
    assert Stepping.of(trainer, None).at_once == Stepping.of(trainer, 1).at_once == 1
    with pytest.raises(UserError, match=f"^trainer.batches_at_once: {reason} needs one batch at a time"):
        Stepping.of(trainer, 2)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_what_computes_otherwise_within_a_step_is_given_one_batch(tmp_path, precision):
    experiment = made(tmp_path, "auto", {"precision": precision, "gradient_clip_val": 0.05})
    assert experiment.learner.automatic_optimization and experiment.trainer.gradient_clip_val == 0.05
    assert experiment.run().finished
