"""Who started this process, and which of several it is, as its environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from orthotrace.core.errors import UserError, short

# What launchers tell the processes that they start, all whole numbers; torch and Lightning read them unchecked.
NUMBERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_PORT",
           "JSM_NAMESPACE_RANK", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NNODES",
           "SLURM_JOB_ID")  # fmt: skip


@dataclass(frozen=True)
class Launched:
    """What started this process.

    Attributes:
        by: "srun", "torchrun", or "" for nothing of the kind: Lightning starts further processes itself.
        rank: of this process among all, from 0; the first one writes.
        processes: how many there are; None where that is for Lightning to say.
        nodes: on how many machines; None where that is for Lightning to say.
    """

    by: str = ""
    rank: int = 0
    processes: int | None = None
    nodes: int | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    @property
    def helper(self) -> bool:
        """Whether Lightning started this process to help another one on the same machine, which ends it."""
        return not self.by and _number(os.environ, "LOCAL_RANK", 0) > 0


def launched(environment: Mapping[str, str] | None = None) -> Launched:
    """What started this process.

    srun sets SLURM_PROCID and SLURM_LOCALID, but no LOCAL_RANK. A batch script has SLURM_NTASKS as well, without a
    step: what it starts plainly is one process. A job named bash or interactive is one too, as Lightning has it.

    Args:
        environment: variables; None for those of this process.

    Example:
        >>> launched({"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"})
        Launched(by='torchrun', rank=1, processes=4, nodes=2)
        >>> launched({"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_NNODES": "1"})
        Launched(by='srun', rank=1, processes=2, nodes=1)
        >>> launched({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"})
        Launched(by='', rank=0, processes=None, nodes=None)
        >>> launched({"NODE_RANK": "1", "LOCAL_RANK": "0"}).first
        False
    """
    found = os.environ if environment is None else environment

    def number(name: str, otherwise: int) -> int:
        return _number(found, name, otherwise)

    if "TORCHELASTIC_RUN_ID" in found:
        processes = number("WORLD_SIZE", 1)
        here = number("LOCAL_WORLD_SIZE", processes)
        return Launched("torchrun", number("RANK", 0), processes, max(processes // max(here, 1), 1))
    # Lightning's own children have LOCAL_RANK, which srun does not set: within a step they are started by Lightning.
    step = found.get("SLURM_STEP_ID", "").isdecimal() and found.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    if step and "LOCAL_RANK" not in found:
        processes = number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS", 1))
        nodes = number("SLURM_STEP_NUM_NODES", number("SLURM_NNODES", 1))
        # A step of one process is as good as none: Lightning may start others beside it.
        if processes > 1:
            return Launched("srun", number("SLURM_PROCID", 0), processes, nodes)
    # Of several machines without a launcher each has a number, which Lightning reads too.
    machine = number("NODE_RANK", number("GROUP_RANK", 0))
    # Which number it has among all only Lightning knows: it is another one than the first.
    return Launched(rank=number("LOCAL_RANK", 0) or machine)


def check_environment(environment: Mapping[str, str] | None = None) -> None:
    """Refuse variables of launchers that are no numbers, as a script may have left them.

    Args:
        environment: variables; None for those of this process.

    Raises:
        UserError: names the variable.

    Example:
        >>> check_environment({"LOCAL_RANK": ""})
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: LOCAL_RANK: the environment has '' in the place of a whole number...
    """
    found = os.environ if environment is None else environment
    for name in NUMBERS:
        if name in found and _number(found, name, -1) < 0:
            raise UserError(
                f"the environment has {short(found[name])!r} in the place of a whole number; unset it, or start the "
                "command by srun or torchrun, which set it",
                name,
            )


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else otherwise


def scheduled(environment: Mapping[str, str] | None = None) -> str | None:
    """The scheduler that this process runs under, and its job; None where there is none.

    Example:
        >>> scheduled({"SLURM_JOB_ID": "12"}), scheduled({"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "3"})
        ('Slurm, job 12', 'submitit, job 3')
    """
    found = os.environ if environment is None else environment
    known = {"SLURM_JOB_ID": "Slurm", "SUBMITIT_LOCAL_JOB_ID": "submitit", "PBS_JOBID": "PBS", "LSB_JOBID": "LSF"}
    return next((f"{name}, job {found[key]}" for key, name in known.items() if found.get(key)), None)
