"""Two processes: every one holds the same subspaces, and what is told is that of one process."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import command
from paired import differences, served_and_trained, told
from pairs import CASES, chosen, places_of
from processes import KINDS, in_two_processes, learned

from orthotrace.results.run_folder import Run

# Of all cases, which make chaos runs: rows that wait, and statistics with their average.
CUT = ["hlop", "gpm, convolutions"]
OLDER = CUT[:1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder) -> list[dict[str, torch.Tensor]]:
    return in_two_processes(partial(served_and_trained, folder=folder, **chosen(CUT, 1), older=OLDER), folder)


@pytest.mark.parametrize("name", KINDS)
def test_every_process_holds_the_same_subspace_as_one_would(two, name):
    assert torch.equal(two[0][name], two[1][name])
    assert torch.allclose(two[0][name], learned(0, 1)[name], atol=1e-9)
    assert float(two[0][name].norm()) > 0.1


def test_rows_and_values_of_processes(two):
    for found in two:
        assert found["rows"].tolist() == [[0, 0], [1, 1], [1, 1]]
        assert found["same"].tolist() == [0]


def test_every_image_is_served_once_and_weighs_the_same(two):
    assert sorted(torch.cat([found["labels"] for found in two]).tolist()) == list(range(21))
    # 4 x 4, and the last one joins the one before: 5 images, 3 and 2 of them in a process.
    assert two[0]["weights"].tolist() == pytest.approx([1, 1, 1, 1, 6 / 5])
    assert two[1]["weights"].tolist() == pytest.approx([1, 1, 1, 1, 4 / 5])


TINY = ("stream.tasks=2", "trainer.max_epochs=2", "model.hidden=[24]", "trainer.accelerator=cpu", "method.rows=5")


def test_a_run_of_two_processes_is_that_of_one(tmp_path):
    for name, devices in (("one", "1"), ("two", "2")):
        done = command(
            "orthotrace-train", "method=hlop", *TINY, f"trainer.devices={devices}", f"hydra.run.dir={name}",
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ACC") == 1
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    # Every test image counts once; only the order of the sums differs.
    for a, b in zip(one.scores["accuracy"], two.scores["accuracy"], strict=True):
        assert a == pytest.approx(b, abs=0.006)
    assert one.scores["capacity"]["fc1"]["captured"] == pytest.approx(
        two.scores["capacity"]["fc1"]["captured"], abs=1e-4
    )
    assert max(two.scores["leak"]) <= 1e-6
    assert two.network().head.weight.shape == (10, 24)


@pytest.mark.parametrize("name", CUT)
def test_a_run_of_two_processes_that_was_cut_ends_with_the_same_bits(two, folder, name):
    (place,) = places_of(name, 1)
    assert not differences(folder, name, told(place))


@pytest.mark.parametrize("name", OLDER)
def test_a_run_goes_on_from_a_checkpoint_in_which_no_process_has_its_own_state(two, folder, name):
    """As older versions wrote: the others take that of the first, which may change the bits, and nothing else."""
    wrong = differences(folder, name, "older")
    assert wrong and not [line for line in wrong if line.startswith("cut 0, cut 1")]
    assert Run(folder / name / "older").finished


def test_every_case_is_cut_at_two_places():
    places = [places_of(name, 2, seed) for name in CASES for seed in range(5)]
    assert all(len(set(some)) == 2 for some in places) and len({some[1] for some in places}) == 5


def test_what_differs_between_processes_is_found(two):
    """The first has no row, the second one; what is the same is not sent."""
    for found in two:
        others = {name: value.tolist() for name, value in found.items() if name.startswith("other ")}
        assert others == {"other rows": [[1, 2]], "other shape": [[0], [0]], "other number": 1}


BAD = [
    (["trainer.devices=2", "method=er"], "trainer.devices: images are replayed in one process only"),
    (["trainer.devices=2", "+trainer.strategy=ddp_spawn"], "trainer.strategy: several devices work together by ddp"),
    (["trainer.devices=2", "+trainer.sync_batchnorm=true"], "trainer.sync_batchnorm: replaces layers"),
]


@pytest.mark.parametrize(("overrides", "line"), BAD, ids=[line for _, line in BAD])
def test_what_several_processes_cannot_do(train, overrides, line):
    answer = train("trainer.accelerator=cpu", *overrides)
    assert answer.code == 2 and answer.err.startswith(f"error: {line}")
    assert answer.err.count("\n") == 1


def test_a_multirun_is_of_single_devices(train):
    answer = train("--multirun", "trainer.accelerator=cpu", "trainer.devices=2", "seed=0,1", *TINY)
    assert answer.code == 1 and "trainer.devices: several devices and a multirun do not go together" in answer.out
