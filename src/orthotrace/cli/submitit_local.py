"""Submitit's launcher of this machine, with a bound on the jobs at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class BoundedLocalLauncher(Launcher):
    """Starts a job when another one has ended; submitit's own starts all at once."""

    # See plugins.check_plugins.
    __module__ = "hydra_plugins.orthotrace"

    def __init__(self, jobs_at_once: int, **params: Any) -> None:
        # Installed by few.
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher  # pyright: ignore

        self.all_at_once = LocalLauncher(**params)
        self.jobs_at_once = jobs_at_once

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra tells before the jobs."""
        self.all_at_once.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; an error of one comes when all have ended."""
        with ThreadPoolExecutor(self.jobs_at_once) as pool:
            running = [
                pool.submit(self.all_at_once.launch, [overrides], initial_job_idx + place)
                for place, overrides in enumerate(job_overrides)
            ]
        return [one for job in running for one in job.result()]
