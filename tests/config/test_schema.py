"""Every key of every option: what is right is accepted, and what is bad is refused by its name."""

from __future__ import annotations

import itertools
import math
import random
import re
import sys

import bad_configurations
import pytest
from bad_configurations import (
    BAD,
    CHOICES,
    NO_OPTION,
    OF_ANALYSIS,
    Case,
    Tally,
    answer,
    bad_cases,
    changed,
    is_bad,
    schema_of,
    tally,
    typed_keys,
    valid_cases,
    whole,
)
from composed import GROUPS
from omegaconf import OmegaConf

from orthotrace.config.schema import NODE, check
from orthotrace.core.errors import UserError

BASES = [*(("train", base) for base in CHOICES), ("analyze", OF_ANALYSIS)]


def said(case: Case) -> str | None:
    try:
        check(changed(case), case.name)
    except UserError as error:
        return str(error)
    return None


def counted(cases) -> Tally:
    found = Tally()
    for case in cases:
        found.count(case, said(case))
    return found


def test_every_option_fits():
    for name, base in BASES:
        check(OmegaConf.create(whole(name, base)), name)


def test_every_key_has_a_type_that_refuses_something():
    for name, base in BASES:
        for key, (argument, _) in typed_keys(name, base).items():
            # What is below them is the user's to name, or has types of its own.
            if argument is not NODE and key not in ("where", "measures", "references", "dataset.sources"):
                assert schema_of(argument) is not None, key
                assert sum(is_bad(argument, kind, True) for kind in BAD) >= 10, key


def test_one_bad_value_of_every_key_is_refused_by_its_name():
    first: dict = {}
    for case in bad_cases():
        # Data sets of a sequence have the same keys; groups need composing.
        key = re.sub(r"sources\.\w+", "sources", case.key)
        if key not in GROUPS:
            first.setdefault((case.name, key), []).append(case)
    # Another kind for each key, the same ones each time.
    chosen = [cases[(37 * place) % len(cases)] for place, cases in enumerate(first.values())]
    found = counted(chosen)
    assert not found.wrong and found.refused == len(chosen) > 280


def test_what_is_no_option_of_a_group_is_refused():
    found, base = Tally(), CHOICES[0]
    for place, group in enumerate(sorted(GROUPS)):
        kind = NO_OPTION[place % len(NO_OPTION)]
        case = Case("train", base, group, kind, BAD[kind])
        found.count(case, answer(case))
    assert not found.wrong and not found.tracebacks and found.refused == len(GROUPS)


def test_a_boolean_is_true_or_false_and_no_other_word():
    booleans = {
        (name, key): base
        for name, base in BASES
        for key, (argument, _) in typed_keys(name, base).items()
        if argument.annotation in (bool, bool | None) and not key.endswith("_")
    }
    words = ("no", "off", "n", "never", "false", "abc", "", 0, 1, 1.0, "yes", "y", "on", "True", "t", "~")
    cases = [
        Case(name, base, key, "bad", word, key in typed_keys(name, base))
        for (name, key), base in booleans.items()
        for word in (words if key == "overwrite" else random.Random(key).sample(words, 2))
    ]
    found = counted(cases)
    assert not found.wrong and found.refused == len(cases) > 50


def test_nothing_takes_the_place_of_keys():
    """Values of what has keys of its own, below the groups."""
    cases = {
        (case.name, case.key, case.kind): case
        for case in bad_cases()
        if case.kind in ("null", "text", "zero", "list")
        and case.key not in GROUPS
        and typed_keys(case.name, case.base).get(case.key, (None,))[0] is NODE
    }
    found = counted(cases.values())
    assert not found.wrong and found.refused == len(cases) > 20


def test_valid_values_are_accepted():
    found = counted(itertools.islice(valid_cases(random.Random(5)), 60))
    assert not found.wrong and found.taken == 60


def test_valid_values_are_of_no_files(monkeypatch):
    """A digest is told of weights that a run starts from, and of none it is a mistake."""
    monkeypatch.setattr(bad_configurations, "CHOICES", CHOICES[:1])
    keys = {case.key for case in itertools.islice(valid_cases(random.Random(6)), 1500)}
    assert len(keys) > 50 and not keys & {"init_from", "init_digest"}


def test_generated_command_lines_are_composed_and_checked():
    found = tally(bad=5, valid=2, seed=3)
    assert not found.wrong and not found.tracebacks and (found.refused, found.taken) == (5, 2)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("optimizer.lr", math.nan, "input should be a finite number (got nan)"),
        ("optimizer.lr", 1e39, "is too large for a float32 (got 1e+39)"),
        ("optimizer.lr", "???", "is missing; write optimizer.lr=VALUE"),
        ("optimizer.nesterov", "", "input should be a valid boolean (got '')"),
        ("optimizer.momentum", -1, "input should be greater than or equal to 0 (got -1)"),
        ("optimizer.weight_decay", -1, "input should be greater than or equal to 0 (got -1)"),
        ("trainer.accumulate_grad_batches", -1, "input should be greater than or equal to 1 (got -1)"),
        ("trainer.accumulate_grad_batches", 1.5, "input should be a valid integer, got a number with a fractional part"),
        ("trainer.gradient_clip_val", -1, "input should be greater than or equal to 0 (got -1)"),
        ("trainer.gradient_clip_val", math.nan, "input should be a finite number"),
        ("trainer.deterministic", math.nan, "input should be a finite number"),
        ("trainer.devices", 100_000, "input should be less than or equal to 1024 (got 100000)"),
        ("trainer.devices", "a" * 5000, "input should be 'auto' or -1 or a valid integer or a text of another form"),
        ("trainer.threads", 10**12, "input should be less than or equal to 4096"),
        ("trainer.profiler", "abc", "input should be 'simple', 'advanced', 'pytorch' or 'xla'"),
        ("trainer.strategy", "abc", "input should be 'auto'"),
        ("trainer.val_check_interval", "abc", "input should be a valid number or a text of another form"),
        ("trainer.max_time", "00:01:00:00", "is set by orthotrace itself: a task ends after trainer.max_epochs"),
        ("trainer.fast_dev_run", True, "is set by orthotrace itself: for a trial run write dataset.limit=10"),
        ("trainer.overfit_batches", 3, "is set by orthotrace itself: for a trial run write dataset.limit=10"),
        ("stream.tasks", 10**8, "input should be less than or equal to 10000 (got 100000000)"),
        ("trainer.logger", True, "is set by orthotrace itself"),
        ("stream.input_noise", math.inf, "input should be a finite number (got inf)"),
        ("stream._args_", [1], "is set by orthotrace itself"),
        ("model._partial_", 0, "input should be False (got 0)"),
        ("model.hidden", None, "input should be a valid list (got None)"),
        ("seed", 2**64, "is too large for 64 bits"),
        ("seed", 1e30, "input should be an integer of 64 bits (got 1e+30)"),
        ("rates", {"fc1": 0.0}, "input should be greater than 0"),
        ("rates", 3, "has keys of its own, which are yours to name: write +rates.NAME=..."),
        ("logger", None, "is missing; write logger=OPTION"),
        ("method", 3, "has keys of its own; write method=OPTION"),
        ("model.weights", {"kind": "x"}, "there is no kind 'x'"),
        ("concepts", {"layer": "bn1"}, "has no keys; write concepts=OPTION to choose one that has"),
        ("model._target_", "orthotrace.models.mlp.MLPP", "'orthotrace.models.mlp.MLPP' cannot be found: module"),
        ("model._target_", "Small", "'Small' names no module; write MODULE.Small"),
        ("model._target_", "orthotrace.nothing.MLP", "'orthotrace.nothing.MLP' cannot be found: No module named"),
        ("model._target_", "math.pi", "math.pi is no class or function"),
    ],
)  # fmt: skip
def test_what_was_found(key, value, line):
    config = OmegaConf.create(whole("train", ("optimizer=sgd",)))
    OmegaConf.update(config, key, value, force_add=True)
    with pytest.raises(UserError) as refused:
        check(config, "train")
    found = refused.value
    assert str(found.key).startswith(key) and found.message.startswith(line), str(found)
    assert len(str(found)) < 600


@pytest.mark.parametrize("key", ["init", "order", "stream", "method", "dropout", "augmentation"])
def test_a_seed_that_was_deleted_is_missing_although_it_has_a_default(key):
    config = OmegaConf.create(whole("train", ("optimizer=sgd",)))
    OmegaConf.set_struct(config, False)
    del config.seeds[key]
    with pytest.raises(UserError, match=rf"^seeds\.{key}: is missing; write seeds\.{key}=VALUE"):
        check(config, "train")


def test_which_data_sets_are_read_is_no_choice_of_the_user_s():
    config = OmegaConf.create(whole("train", ("dataset=five_datasets",)))
    OmegaConf.update(config, "dataset.only", ["mnist"], force_add=True)
    with pytest.raises(UserError, match=r"^dataset\.only: is set by orthotrace itself"):
        check(config, "train")


def test_without_what_is_configured_nothing_is_imported(tmp_path):
    """A user's module that is not there is no matter where its class is not asked for."""
    config = OmegaConf.create(whole("train", ()))
    config.model._target_ = "not_there.Model"
    check(config, "train", whole=False)
    assert "not_there" not in sys.modules
    config.optimizer.lr = math.nan
    with pytest.raises(UserError, match=r"optimizer\.lr"):
        check(config, "train", whole=False)


def test_a_user_s_own_class_has_the_types_of_its_signature(tmp_path, monkeypatch):
    (tmp_path / "ownnets.py").write_text(
        "class Net:\n    def __init__(self, shape, classes, depth: int, rate: float = 0.1, how=None): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = OmegaConf.create(whole("train", ()))
    config.model = {"_target_": "ownnets.Net", "depth": 3, "rate": math.inf, "how": {"a": "b"}}
    check(config, "train")
    for key, value, line in (
        ("depth", "x", "model.depth: input should be a valid integer"),
        ("rate", True, "model.rate: input should be a valid number"),
        ("deph", 3, "model.deph: no such option; did you mean 'depth'?"),
    ):
        bad = OmegaConf.merge(config, {"model": {key: value}})
        with pytest.raises(UserError, match=line.replace("?", r"\?").replace(".", r"\.")):
            check(bad, "train")


@pytest.mark.parametrize(
    ("arguments", "lacking"),
    [("classes", "shape"), ("shape", "classes"), ("width=3", "shape and no classes"), ("", "shape and no classes")],
)
def test_a_user_s_own_network_without_what_it_is_called_with(tmp_path, monkeypatch, arguments, lacking):
    name = f"lacking_{abs(hash(arguments))}"
    (tmp_path / f"{name}.py").write_text(f"class Net:\n    def __init__(self, {arguments}): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = OmegaConf.create(whole("train", ()))
    config.model = {"_target_": f"{name}.Net"}
    with pytest.raises(UserError, match=rf"^model\._target_: '{name}\.Net' takes no {lacking}: .* give it arguments"):
        check(config, "train")
    # Whoever takes all arguments takes these.
    (tmp_path / f"{name}_any.py").write_text("class Net:\n    def __init__(self, **options): ...\n")
    config.model = {"_target_": f"{name}_any.Net"}
    check(config, "train")


@pytest.mark.parametrize("there", [True, False])
def test_concept_layers_have_options_of_whitening(there):
    config = OmegaConf.create(whole("train", ("model=convnet", "concepts=classes", "concepts.layer=bn1")))
    config.concepts.pop("whitening")
    if there:
        config.concepts.whitening = None
    with pytest.raises(UserError, match=r"^concepts\.whitening: has keys of its own"):
        check(config, "train")
