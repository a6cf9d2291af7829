"""Every key of every option: its default fits, and a value that does not is refused by its name."""

from __future__ import annotations

import math

import pytest
from bad_configurations import ALL, bad, whole
from omegaconf import OmegaConf

from orthotrace.config.schema import check
from orthotrace.core.errors import UserError


@pytest.mark.parametrize(("group", "option"), ALL)
def test_defaults_fit_and_are_typed(group, option):
    values = whole(group, option)
    check(OmegaConf.create(values), "train")


def test_every_bad_value_is_refused_by_its_name_or_fits():
    refused, accepted, wrong = 0, [], []
    for number, (group, option) in enumerate(ALL):
        # A sample that is always the same: all take minutes.
        for key, kind, config in bad(group, option, every=101, start=number % 101):
            try:
                check(config, "train")
                accepted.append((key, kind))
            except UserError as error:
                refused += 1
                named = str(error.key)
                below = key == named or key.startswith(f"{named}.") or named.startswith(f"{key}.")
                if not below or len(str(error)) > 2500 or "\n" in str(error):
                    wrong.append((key, kind, str(error)))
    assert not wrong
    # NaN, the infinite, what is missing, and interpolations fit nowhere.
    never = {"nan", "infinite", "missing", "interpolation", "unicode"}
    assert {one for one in accepted if one[1] in never} == set()
    assert refused > 3 * len(accepted)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.lr", math.nan), ("optimizer.lr", 1e39), ("optimizer.nesterov", ""), ("optimizer.momentum", -1),
        ("trainer.accumulate_grad_batches", -1), ("trainer.accumulate_grad_batches", 1.5),
        ("trainer.gradient_clip_val", -1), ("trainer.gradient_clip_val", math.nan), ("trainer.deterministic", math.nan),
        ("trainer.devices", 100_000), ("stream.input_noise", math.inf), ("overwrite", "no"), ("overwrite", 1),
        ("seed", "abc"), ("seed", 2**64), ("rates", {"fc1": 0.0}), ("optimizer.lr", "???"),
    ],
)  # fmt: skip
def test_what_was_found(key, value):
    config = OmegaConf.create(whole("optimizer", "sgd"))
    OmegaConf.update(config, key, value, force_add=True)
    with pytest.raises(UserError) as refused:
        check(config, "train")
    assert str(refused.value.key).startswith(key)
