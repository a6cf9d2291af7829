"""Methods, streams and scenarios, generated from the configurations: each combination runs, or says why not.

Every pair of method and scenario and of stream and scenario, so that each method has three streams; all three
together in make test-whole. Spiking networks: every method under one way of learning in one combination; all in make test-whole.
"""

from __future__ import annotations

from itertools import product

import pytest
from composed import ADAPTED, ADAPTERS, FIVE, GROUPS, KEYS, built, check_scores, five
from images import write_tables

from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run

SCENARIOS = ("task", "domain", "class")
# A stream of one task is in none of them, and is trained as if it were of this one.
ONE_TASK = {"single": "class"}
# What a stream does not admit, and why: everything else must run.
REFUSED = {
    ("blurred", "task"): "where boundaries are blurred no batch is of one task",
    ("sequence", "domain"): "have different classes",
}
# A stream that needs data of its own.
DATA = {
    "superclasses": lambda folder: [
        "dataset=cifar100",
        f"dataset.path={write_tables(folder / 'many', classes=8, superclasses=4, label='fine_label', image='img')}",
    ],
    "sequence": lambda folder: [
        "dataset=five_datasets",
        f"dataset.path={five(folder / 'five')}",
        *(f"dataset.sources.{name}.size=8" for name in FIVE),
    ],
    "mixed": lambda folder: [
        "dataset=five_datasets",
        f"dataset.path={five(folder / 'mixed')}",
        *(f"dataset.sources.{name}.size=8" for name in FIVE),
    ],
}
WAYS = ("dsr", "bptt", "ottt")
TINY = ("trainer.max_epochs=1", "model.hidden=[8]", "trainer.batch_size=64", "trainer.accelerator=cpu")
FEW = "dataset.limit=20"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {stream: make(folder) for stream, make in DATA.items()}


def combinations():
    streams = [*(stream for stream in GROUPS["stream"] if stream not in ONE_TASK), *ONE_TASK]
    several = len(streams) - len(ONE_TASK)
    for (i, method), (j, stream), (k, scenario) in product(*map(enumerate, (GROUPS["method"], streams, SCENARIOS))):
        if ONE_TASK.get(stream, scenario) != scenario:
            continue
        chosen = i % 4 == 0 if stream in ONE_TASK else (i + k) % several == j
        yield pytest.param(method, stream, scenario, None, marks=[] if chosen else pytest.mark.whole)
        for place, way in enumerate(WAYS):
            # The ways in turn, each with a stream of its own, and the scenarios in turn.
            chosen = place == i % len(WAYS) and stream == ("permuted", "split", "repeated")[place] and k == i // 3 % 3
            yield pytest.param(method, stream, scenario, way, marks=[] if chosen else pytest.mark.whole)


def test_every_pair_is_chosen():
    every = [one.values for one in combinations()]
    chosen = [one.values for one in combinations() if not one.marks]
    for spikes, pairs in ((False, ((0, 2), (1, 2))), (True, ((0, 0), (2, 3)))):
        for a, b in pairs:
            of = [{(one[a], one[b]) for one in some if bool(one[3]) == spikes} for some in (every, chosen)]
            assert of[0] == of[1]


@pytest.mark.parametrize(("method", "stream", "scenario", "spikes"), [*combinations()])
def test_a_combination_runs_or_says_why_not(tmp_path, data, method, stream, scenario, spikes):
    tasks = [] if stream in DATA or stream in ONE_TASK else ["stream.tasks=2"]
    chosen = [] if stream in ONE_TASK else [f"stream.scenario={scenario}"]
    memory = ["method.memory.size=60"] if "memory" in KEYS[method] else []
    # Noise has no few directions: an energy would take all rows there are.
    rows = ["method.rows=1"] if "rows" in KEYS[method] else []
    # The paper's alpha is for more and larger batches: here it would hold nothing.
    alpha = ["method.alpha=.1"] if method == "owm" else []
    spiking = ["model=spiking_mlp", f"model.learning={spikes}", "model.steps=2"] if spikes else []
    # A sum over classes, whose steps are larger: on these few images no neuron would fire after them.
    spiking += ["optimizer.lr=.01"] if spiking and method == "icarl" else []
    few = [] if stream in DATA else [FEW]
    adapted = [*ADAPTED] if method in ADAPTERS else []
    if spikes and (adapted or stream == "superclasses"):
        # Weights as they were drawn, frozen, would let nothing fire; so do the first steps on these few images.
        adapted += ["model.threshold=.2"]
    overrides = [
        f"method={method}", f"stream={stream}", *chosen, *tasks, *memory, *rows, *alpha, *spiking, *adapted, *few, *TINY
    ]  # fmt: skip
    run = Run(tmp_path / "run")
    if (stream, scenario) in REFUSED:
        with pytest.raises(UserError, match=REFUSED[stream, scenario]) as refused:
            built(run, *overrides, *data.get(stream, []))
        assert str(refused.value).startswith("stream.scenario: ")
        assert not run.folder.exists()
        return
    experiment = built(run, *overrides, *data.get(stream, []))
    progress = experiment.run()
    assert progress.finished and len(progress.accuracy) == experiment.stream.tasks
    check_scores(run.scores)
    assert run.scores["scenario"] == scenario and run.scores["method"] == method
    if scenario == "class" and stream not in ONE_TASK and not experiment.stream.blur:
        # A class that was not taught yet cannot be told.
        assert progress.accuracy[0][1] == (1.0 if experiment.stream.distinct == 1 else 0.0)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("larger") / "images", side=16, colours=True, image="img")


@pytest.mark.parametrize("method", [method for method in GROUPS["method"] if method not in ADAPTERS])
def test_every_method_trains_convolutions_that_take_channels_last(tmp_path, larger, method):
    # Images of less than 512 numbers, as all others here, stay as they are.
    memory = ["method.memory.size=20"] if "memory" in KEYS[method] else []
    rows = ["method.rows=1"] if "rows" in KEYS[method] else []
    alpha = ["method.alpha=.1"] if method == "owm" else []
    convolutions = ("dataset=cifar10", f"dataset.path={larger}", "model=convnet", "model.channels=[4]")
    tiny = ("stream=split", "stream.tasks=2", *(one for one in TINY if "hidden" not in one))
    experiment = built(Run(tmp_path / "run"), f"method={method}", *convolutions, *tiny, *memory, *rows, *alpha)
    assert experiment.run().finished


# Beside method, stream and scenario: each option with a method in turn, and what it needs.
OTHERS = [(group, option) for group in ("weights", "regularizer", "scheduler") for option in GROUPS[group]]
IN_TURN = ("gpm", "ewc", "er", "hlop", "si")
NEEDS = {
    "adder": ("method=ewc", "model=convnet", "model.channels=[4]"),
    "sawb": ("method=si", "model.hidden=[8,8]"),
    "own": ("method=er",),
    "oni": ("method=ewc",),
    "stiefel": ("method=si",),
    "lora": ("method=inflora",),
    "rbm_init": ("model.weights.epochs=1",),
    "range_test": ("stream=single",),
    "step": ("scheduler.every=1",),
    "plateau": ("stream.validation=.2",),
    "early_stopping": ("stream.validation=.2",),
}


@pytest.mark.parametrize(("group", "option"), OTHERS)
def test_every_other_option_runs_with_some_method(tmp_path, group, option):
    method = IN_TURN[OTHERS.index((group, option)) % len(IN_TURN)]
    memory = ["method.memory.size=60"] if "memory" in KEYS[method] and method == "er" else []
    adapted = [*ADAPTED] if option == "lora" else []
    needed = NEEDS.get(option, ())
    if any(one.startswith("method=") for one in needed):
        memory = ["method.memory.size=60"] if "method=er" in needed else []
    several = [] if "stream=single" in needed else ["stream.tasks=2"]
    chosen = dict(one.partition("=")[::2] for one in (f"method={method}", "stream=permuted", *TINY, FEW, *needed))
    tiny = [f"{key}={value}" for key, value in chosen.items() if key != "model.hidden" or "model" not in chosen]
    experiment = built(Run(tmp_path / "run"), f"{group}={option}", *tiny, *memory, *adapted, *several)
    assert experiment.run().finished
