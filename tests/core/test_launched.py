"""Who started a process, by variables that srun of Slurm 22.05, torchrun of torch 2.13 and Lightning 2.6 set."""

from __future__ import annotations

import pytest

from orthotrace.core.errors import UserError
from orthotrace.core.launched import NUMBERS, Launched, check_environment, launched

STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3"}
CASES = {
    "nothing": ({}, Launched()),
    "a child of Lightning's": ({"LOCAL_RANK": "1"}, Launched(rank=1)),
    "a child on another machine": ({"LOCAL_RANK": "1", "NODE_RANK": "1"}, Launched(rank=1)),
    "the first of another machine": ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, Launched(rank=1)),
    "srun": (STEP | {"SLURM_NTASKS": "4"}, Launched("srun", 3, 4, 2)),
    "srun of one in a job of four": (STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Launched()),
    "a child of Lightning's within srun": (STEP | {"SLURM_STEP_NUM_TASKS": "1", "LOCAL_RANK": "1"}, Launched(rank=1)),
    "plainly in a batch script": ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "a"}, Launched()),
    "an interactive job": (STEP | {"SLURM_JOB_NAME": "interactive"}, Launched()),
    "torchrun": ({"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "2"},
                 Launched("torchrun", 5, 6, 2)),
    "torchrun within srun": (STEP | {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2"},
                             Launched("torchrun", 0, 2, 1)),
    "a number that is none": ({"LOCAL_RANK": "", "NODE_RANK": "x"}, Launched()),
    "another script's digits": ({"LOCAL_RANK": "\u00b2"}, Launched()),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_started_a_process(case, monkeypatch):
    environment, expected = CASES[case]
    assert launched(environment) == expected
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected
    assert launched().helper == ("child" in case)


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", " 1", "\u00b2"], ids=ascii)
@pytest.mark.parametrize("name", ["LOCAL_RANK", "SLURM_PROCID"])
def test_a_number_that_is_none_is_refused_by_its_name(name, value):
    with pytest.raises(UserError, match=f"^{name}: the environment has .*unset it"):
        check_environment({name: value})


def test_what_launchers_set_is_not_refused():
    for environment, _ in list(CASES.values())[:-2]:
        check_environment(environment)
    check_environment(dict.fromkeys(NUMBERS, "0"))
