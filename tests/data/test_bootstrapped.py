"""Bootstrapped targets against the formulas of the paper, written out."""

import math

import pytest
import torch
from composed import built
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from orthotrace.core.errors import UserError
from orthotrace.data.active_outputs import ActiveOutputs
from orthotrace.data.bootstrapped import BETA, bootstrapped
from orthotrace.methods.stacked import losses_of
from orthotrace.results.run_folder import Run

DRAWS = torch.Generator().manual_seed(0)
LOGITS = torch.randn(7, 5, generator=DRAWS, dtype=torch.float64)
LABELS = torch.arange(7) % 5
TINY = ("stream=single", "model.hidden=[16]", "trainer.accelerator=cpu", "dataset.limit=200")


def by_hand(logits: Tensor, labels: Tensor, kind: str, beta: float, smoothing: float = 0.0) -> float:
    """Image by image and output by output."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        norm = sum(math.exp(value) for value in row)
        q = [math.exp(value) / norm for value in row]
        for k in range(len(row)):
            t = (1 - smoothing) * (k == label) + smoothing / len(row)
            own = q[k] if kind == "soft" else float(q[k] == max(q))
            total -= (beta * t + (1 - beta) * own) * math.log(q[k])
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_loss_is_that_of_the_paper(kind, beta, smoothing):
    found = bootstrapped(LOGITS, LABELS, kind, beta, smoothing)
    assert float(found) == pytest.approx(by_hand(LOGITS, LABELS, kind, beta, smoothing), rel=1e-12)


@pytest.mark.parametrize(("kind", "beta"), [("soft", 0.95), ("hard", 0.8)])
def test_the_shares_are_the_published_ones(kind, beta):
    assert float(bootstrapped(LOGITS, LABELS, kind)) == pytest.approx(by_hand(LOGITS, LABELS, kind, beta), rel=1e-12)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_gradient_is_that_of_the_loss(kind):
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda one: bootstrapped(one, LABELS, kind, 0.4, 0.1), logits)


def test_the_gradient_goes_through_the_soft_targets_and_none_through_the_hard_ones():
    """d/dz of the entropy is -q (log q + H); of -log q_z with z held it is q - z."""
    q = LOGITS.softmax(1)
    entropy = -(q * q.log()).sum(1, keepdim=True)
    held = q - one_hot(q.argmax(1), 5)
    for kind, own in (("soft", -q * (q.log() + entropy)), ("hard", held)):
        logits = LOGITS.clone().requires_grad_()
        bootstrapped(logits, LABELS, kind, 0.4).backward()
        expected = (0.4 * (q - one_hot(LABELS, 5)) + 0.6 * own) / 7
        torch.testing.assert_close(logits.grad, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_it_is_over_the_outputs_that_count(kind):
    active = ActiveOutputs("task", (range(0, 2), range(2, 5)), bootstrap=kind, beta=0.3)
    labels = torch.tensor([2, 3, 4, 2, 3, 4, 2])
    expected = by_hand(LOGITS[:, 2:], labels - 2, kind, 0.3)
    assert float(active.loss(LOGITS, labels, 1)) == pytest.approx(expected, rel=1e-12)
    mixed, tasks = torch.tensor([0, 2, 1, 3, 0, 4, 1]), torch.tensor([0, 1, 0, 1, 0, 1, 0])
    parts = [(LOGITS[tasks == 0, :2], mixed[tasks == 0], 4), (LOGITS[tasks == 1, 2:], mixed[tasks == 1] - 2, 3)]
    expected = sum(by_hand(of, right, kind, 0.3) * count / 7 for of, right, count in parts)
    assert float(active.loss(LOGITS, mixed, 1, tasks)) == pytest.approx(expected, rel=1e-12)
    present = by_hand(LOGITS[:, [1, 3]], torch.tensor([0, 1] * 3 + [0]), kind, 0.3)
    found = active.loss_among_present(LOGITS, torch.tensor([1, 3] * 3 + [1]))
    assert float(found) == pytest.approx(present, rel=1e-12)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_networks_that_are_trained_together_have_it_each(kind):
    active = ActiveOutputs("domain", (range(0, 5),), bootstrap=kind)
    logits, labels = torch.stack([LOGITS, LOGITS.flip(0)]), torch.stack([LABELS, LABELS])
    found = losses_of(active, logits, labels, 0, [None, None])
    expected = [by_hand(one, LABELS, kind, BETA[kind]) for one in logits]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", ["finetune", "lwf", "derpp", "er_ace", "ewc", "gpm"])
def test_every_loss_of_a_method_has_it(method):
    """In the first task their loss is that of the batch alone."""
    experiment = built(Run("nowhere"), f"method={method}", *TINY, "regularizer=bootstrap_hard", "trainer.max_epochs=1")
    assert experiment.outputs.bootstrap == "hard"
    batches = experiment.begin_task()
    batch = next(iter(batches))
    learner = experiment.learner
    with torch.no_grad():
        loss, logits = learner.method.loss(learner.model, batch, learner.context)
    assert float(loss) == pytest.approx(by_hand(logits.double(), batch.labels, "hard", 0.8), rel=1e-4)
    assert float(loss) != pytest.approx(float(cross_entropy(logits, batch.labels)), rel=1e-3)


def test_wrong_labels_are_not_learned_by_heart(tmp_path):
    """Of 40 % wrong labels, of which a network without it learns more."""
    words = ("method=finetune", *TINY, "dataset.limit=60", "model.hidden=[128]", "stream.label_noise=.4",
             "trainer.max_epochs=60", "optimizer.lr=.05")  # fmt: skip
    hard = ("regularizer=bootstrap_hard", "regularizer.bootstrap_beta=.5")
    plain, boot = (built(Run(tmp_path / str(len(more))), *words, *more).run() for more in ((), hard))
    assert plain.epochs[-1]["train_accuracy"] > boot.epochs[-1]["train_accuracy"] + 0.1
    assert boot.accuracy[0][0] > plain.accuracy[0][0] + 0.1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["method=icarl", "regularizer=bootstrap_soft"], "regularizer.bootstrap: mixes the targets of a cross-entropy"),
        (
            ["method=finetune", "regularizer.bootstrap_beta=.5"],
            "regularizer.bootstrap_beta: is the share of the label in bootstrapped",
        ),
        (
            ["method=finetune", "regularizer=bootstrap_soft", "regularizer.bootstrap_beta=1.1"],
            "regularizer.bootstrap_beta: input should",
        ),
    ],
)
def test_what_it_does_not_go_with_is_refused(given, line):
    with pytest.raises(UserError) as raised:
        built(Run("nowhere"), *TINY, *given)
    assert str(raised.value).startswith(line)
