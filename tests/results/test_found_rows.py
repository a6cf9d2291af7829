"""The rows that another run found, from its folder."""

import json

import pytest
from omegaconf import OmegaConf

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.results.found_rows import found_rows, rows_argument

NAMES = ["fc1", "fc2", "head"]


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
    expected = {name: [3, 2, 0] for name in NAMES}
    assert found_rows(str(tmp_path / "gpm0"), Seeds(7)).rows == expected
    assert found_rows(str(tmp_path), Seeds(1, 1, 1, 1)).rows == expected


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
        found_rows(str(tmp_path), Seeds())
    assert line in str(error.value)


def test_of_several_methods_that_of_gpm_is_taken_and_rows_that_were_let_go_are_refused(tmp_path):
    for name, method in (("a", "gpm"), ("b", "sgp"), ("c", "trgp")):
        write_run(tmp_path / name, 0, method)
    path = tmp_path / "a" / "scores.json"
    path.write_text(path.read_text().replace("[3, 5, 5]", "[3, 4, 5]"))
    assert found_rows(str(tmp_path), Seeds()).rows == {name: [3, 1, 1] for name in NAMES}
    path.write_text(path.read_text().replace("[3, 4, 5]", "[3, 2, 5]"))
    with pytest.raises(UserError, match=r"rows_from: .* lets rows go from task to task"):
        found_rows(str(tmp_path), Seeds())


def test_a_folder_of_anything_is_searched_without_harm(tmp_path):
    broken = tmp_path / "strangers" / "run"
    (broken / ".hydra").mkdir(parents=True)
    (broken / ".hydra" / "config.yaml").write_text("a: 1")
    (broken / "scores.json").write_text("{")
    with pytest.raises(UserError, match="^rows_from: .* must hold exactly one finished run with rows .*; found: none"):
        found_rows(str(tmp_path), Seeds())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="^rows_from: .* holds no runs"):
        found_rows(str(tmp_path / "empty"), Seeds())


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ({"rows_from": "nowhere"}, "method.rows_from: there is no folder nowhere"),
        ({"rows_from": "nowhere", "rows": 3}, "method.rows_from: give rows or rows_from, not both"),
        ({"rows_from": 3}, "method.rows_from: input should be a valid string"),
    ],
)
def test_configurations_that_name_no_run(method, line):
    with pytest.raises(UserError) as error:
        rows_argument(OmegaConf.create({"method": method}), Seeds())
    assert str(error.value).startswith(line)
    assert rows_argument(OmegaConf.create({"method": {"energy": 0.9}}), Seeds()) == {}
