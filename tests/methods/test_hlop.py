from dataclasses import replace

import torch
from tasks import context_of

from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.hlop import HLOP
from orthotrace.models.mlp import MLP

TRAIN = digits().train
INPUTS = TRAIN.inputs()
CONTEXT = context_of(Permuted(digits()), 0, TRAIN, batch_size=64)


def method(**options) -> tuple[HLOP, MLP]:
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 10, hidden=[16])
    made = HLOP(rows=6, **options)
    made.setup(model, Seeds(), Permuted(digits()))
    made.begin_task(CONTEXT)
    return made, model


def test_observing_changes_neither_the_answer_nor_the_gradient():
    hlop, model = method()
    images = INPUTS[:32]
    plain = model(images)
    plain.sum().backward()
    gradient = model.fc1.weight.grad.clone()
    model.zero_grad()
    logits = hlop.training_forward(model, images, CONTEXT)
    logits.sum().backward()
    assert torch.equal(logits, plain) and torch.equal(model.fc1.weight.grad, gradient)
    assert not any(parameter.requires_grad for parameter in hlop.parameters())


def test_the_closing_pass_improves_what_one_look_learned():
    captured = {}
    for closing in (False, True):
        hlop, model = method(closing_pass=closing)
        hlop.training_forward(model, INPUTS[:64], CONTEXT)
        model.eval()
        captured[closing] = hlop.end_task(CONTEXT).layers["fc1"].captured
    assert captured[True] > captured[False] + 0.005


def test_weights_do_not_move_in_the_closing_pass():
    hlop, model = method(closing_pass=True)
    hlop.training_forward(model, INPUTS[:64], CONTEXT)
    before = model.fc1.weight.clone()
    model.eval()
    hlop.end_task(CONTEXT)
    assert torch.equal(model.fc1.weight, before)


def test_the_rule_begins_with_an_epoch_of_the_task():
    hlop, model = method(start_epoch=2)
    space = hlop.guard.subspaces["fc1"]
    for epoch, seen in ((0, 0), (1, 32), (2, 64)):
        hlop.training_forward(model, INPUTS[:32], replace(CONTEXT, epoch=epoch))
        assert int(space.seen) + 32 * int(space.steps) == seen
    assert hlop.epochs_needed == 2 and method(start_epoch=2, closing_pass=True)[0].epochs_needed == 1
