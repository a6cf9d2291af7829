import json

import pytest
from omegaconf import OmegaConf

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.methods.sizes import sizes

NAMES = ["fc1", "fc2", "head"]

GOOD = [
    ({"energy": 0.9}, [{"energy": 0.9}] * 3),
    ({"energy": [0.9, 0.8, 0.7]}, [{"energy": 0.9}, {"energy": 0.8}, {"energy": 0.7}]),
    ({"energy": {"head": 0.7, "fc1": 0.9, "fc2": 0.8}}, [{"energy": 0.9}, {"energy": 0.8}, {"energy": 0.7}]),
    ({"energy": 0.9, "rows": 5}, [{"rows": 5}] * 3),
    ({"rows": {"fc1": [3, 2], "fc2": 4, "head": 1}}, [{"rows": [3, 2]}, {"rows": 4}, {"rows": 1}]),
]
BAD = [
    ({"energy": [0.9, 0.8]}, "energy: 2 values for 3 protected layers (fc1, fc2, head)"),
    ({"rows": {"fc3": 1}}, "rows: there is no protected layer 'fc3'; did you mean 'fc2'?"),
    ({"rows": {"fc1": 1}}, "rows: says nothing of layer 'fc2'"),
    ({"rows": 1, "rows_from": "x"}, "rows_from: give rows or rows_from, not both"),
    ({}, "energy: give energy, rows or rows_from"),
    ({"rows_from": "nowhere"}, "rows_from: there is no folder nowhere"),
]


def call(energy=None, rows=None, rows_from=None, seeds=Seeds()):
    return sizes(dict(zip(NAMES, NAMES, strict=True)), energy, rows, rows_from, seeds)


@pytest.mark.parametrize(("options", "expected"), GOOD)
def test_sizes(options, expected):
    assert list(call(**options).values()) == expected


@pytest.mark.parametrize(("options", "line"), BAD)
def test_sizes_that_cannot_be(options, line):
    with pytest.raises(UserError) as error:
        call(**options)
    assert str(error.value).startswith(line)


def write_run(folder, seed: int, method: str = "gpm", names=NAMES, borrowed=None):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml({"method": {"rows_from": borrowed}}))
    capacity = {name: {"features": 9, "rank": [3, 5, 5]} for name in names} if method != "finetune" else None
    seeds = Seeds(seed, seed, seed, seed).as_dict()
    scores = {"schema": 1, "method": method, "seeds": seeds, "accuracy": [[1.0]], "acc": 1.0, "capacity": capacity}
    (folder / "scores.json").write_text(json.dumps(scores))


def test_rows_of_another_run_are_what_it_gained_in_each_task(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f"gpm{seed}", seed)
        write_run(tmp_path / f"plain{seed}", seed, "finetune")
        write_run(tmp_path / f"hlop{seed}", seed, "hlop", borrowed="x")
    expected = [{"rows": [3, 2, 0]}] * 3
    assert list(call(rows_from=str(tmp_path / "gpm0"), seeds=Seeds(7)).values()) == expected
    assert list(call(rows_from=str(tmp_path), seeds=Seeds(1, 1, 1, 1)).values()) == expected


@pytest.mark.parametrize(
    ("runs", "line"),
    [
        ([("a", 5, "gpm")], "found: none"),
        ([("a", 0, "finetune")], "found: none"),
        ([("a", 0, "gpm"), ("b", 0, "gpm"), ("c", 0, "sgp")], "found: a, b"),
        ([("a", 0, "hlop"), ("b", 0, "sgp")], "found: a, b"),
    ],
)
def test_a_folder_without_the_one_run(tmp_path, runs, line):
    for name, seed, method in runs:
        write_run(tmp_path / name, seed, method)
    with pytest.raises(UserError) as error:
        call(rows_from=str(tmp_path))
    assert line in str(error.value)


def test_of_several_methods_that_of_gpm_is_taken_and_rows_that_were_let_go_are_refused(tmp_path):
    for name, method in (("a", "gpm"), ("b", "sgp"), ("c", "trgp")):
        write_run(tmp_path / name, 0, method)
    path = tmp_path / "a" / "scores.json"
    path.write_text(path.read_text().replace("[3, 5, 5]", "[3, 4, 5]"))
    assert list(call(rows_from=str(tmp_path)).values()) == [{"rows": [3, 1, 1]}] * 3
    path.write_text(path.read_text().replace("[3, 4, 5]", "[3, 2, 5]"))
    with pytest.raises(UserError, match=r"rows_from: .* lets rows go from task to task"):
        call(rows_from=str(tmp_path))


def test_what_is_said_of_a_layer_counts_for_its_groups():
    labels = {"conv[1]": "conv", "conv[2]": "conv", "head": "head"}
    assert sizes(labels, [0.9, 0.8], None, None, Seeds()) == {
        "conv[1]": {"energy": 0.9}, "conv[2]": {"energy": 0.9}, "head": {"energy": 0.8},
    }  # fmt: skip


def test_a_run_with_other_layers(tmp_path):
    write_run(tmp_path, 0, names=["a", "b"])
    with pytest.raises(UserError, match=r"the layers of .* are a, b, here they are fc1, fc2, head"):
        call(rows_from=str(tmp_path))


def test_a_folder_of_anything_is_searched_without_harm(tmp_path):
    broken = tmp_path / "strangers" / "run"
    (broken / ".hydra").mkdir(parents=True)
    (broken / ".hydra" / "config.yaml").write_text("a: 1")
    (broken / "scores.json").write_text("{")
    with pytest.raises(UserError, match="^rows_from: .* must hold exactly one finished run with rows .*; found: none"):
        call(rows_from=str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="^rows_from: .* holds no runs"):
        call(rows_from=str(tmp_path / "empty"))
