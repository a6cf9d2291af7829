"""Values that no key takes, wherever they stand."""

from __future__ import annotations

import copy
import math

import pytest
from omegaconf import OmegaConf

from orthotrace.config.values import checked_values
from orthotrace.core.errors import UserError

WHOLE = {"seed": 0, "rates": {"fc1": 0.1}, "model": {"_target_": "orthotrace.x", "hidden": [1], "in": {"a": {"b": 1}}}}
PLACES = {"seed": "seed", "rates.fc1": "rates.fc1", "model.hidden": "model.hidden", "model.in.a.b": "model.in.a.b"}
NEVER = {
    "nan": math.nan, "infinite": math.inf, "minus infinite": -math.inf, "huge": 10**30, "too large": 1e39,
    "missing": "???", "interpolation": "${nothing}", "no text": "a\udcff", "zero byte": "a\0", "long": "\udcff" * 5000,
}  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", NEVER)
@pytest.mark.parametrize("path", PLACES)
def test_what_fits_nowhere_is_refused_anywhere(path, kind, inside):
    config = OmegaConf.create(copy.deepcopy(WHOLE))
    OmegaConf.update(config, path, [NEVER[kind]] if inside else NEVER[kind])
    with pytest.raises(UserError) as refused:
        checked_values(config)
    assert str(refused.value.key).startswith(path)
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


def test_a_class_of_the_user_s_own_may_take_infinity():
    config = OmegaConf.create({"model": {"_target_": "mine.Net", "clip": math.inf, "deep": [math.nan]}})
    assert checked_values(config)["model"]["clip"] == math.inf


def test_long_keys_are_shortened():
    with pytest.raises(UserError) as refused:
        checked_values(OmegaConf.create({"a" * 5000: {"b" * 5000: math.nan}}))
    assert len(str(refused.value)) < 400


def test_values_are_resolved_without_hydras():
    config = OmegaConf.create({"seed": 3, "seeds": {"init": "${seed}"}, "all": "${seeds}", "hydra": {"x": "???"}})
    assert checked_values(config) == {"seed": 3, "seeds": {"init": 3}, "all": {"init": 3}}


def test_the_layer_of_concepts_has_a_line_of_its_own():
    assert checked_values(OmegaConf.create({"concepts": {"layer": "???"}})) == {"concepts": {"layer": "???"}}


def test_keys_are_texts_that_a_file_can_hold():
    with pytest.raises(UserError, match="rates: is no text in UTF-8"):
        checked_values(OmegaConf.create({"rates": {"a\0": 1.0}}))


def test_integers_have_64_bits():
    ends = {"least": -(2**63), "most": 2**63 - 1}
    assert checked_values(OmegaConf.create(ends)) == ends
    for value in (-(2**63) - 1, 2**63):
        with pytest.raises(UserError, match="is too large for 64 bits"):
            checked_values(OmegaConf.create({"seed": value}))
