"""Several runs by one command."""

import functools
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from orthotrace.cli.composed import check_composed, check_folder, starts
from orthotrace.cli.errors import fail, translated
from orthotrace.cli.jobs import JOBS, SIGNAL, SWEPT, begin, end, tell
from orthotrace.cli.shown import jobs_of
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError, short
from orthotrace.core.folders import LOCK, is_held
from orthotrace.core.interrupt import waiting_for, working_in


class Multirun(Callback):
    """Before a multirun: compose and check every job, so that a typo costs a second. After it: a table of all jobs."""

    failed = False
    # Not of the object, which launchers hand to their workers.
    running = ExitStack()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compose and check every job, and note its folder."""
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.override_parser.overrides_parser import OverridesParser

        # Of another sweeper than Hydra's own nobody knows them.
        self.folders: list[Path] = []
        self.sweep = Path(str(config.hydra.sweep.dir))
        working_in(self.sweep)
        name = str(config.hydra.job.config_name)
        loader = GlobalHydra.instance().config_loader()
        parser = OverridesParser.create(config_loader=loader)
        given, more = parser.parse_overrides(config.hydra.overrides.task), config.hydra.sweeper.get("params") or {}
        keys = [*map(str, more), *(one.get_key_element() for one in given if one.is_sweep_override())]
        os.environ[SWEPT] = " ".join(key.lstrip("+~") for key in keys)
        jobs = jobs_of(config, loader)
        for job in jobs or ():
            try:
                composed = loader.load_sweep_config(config, job)
                check_composed(composed, composed.hydra, name, whole=False)
                check_folder(composed, "hydra.sweep.dir", "hydra.sweep.subdir")
                folder = Path(composed.hydra.sweep.dir) / str(composed.hydra.sweep.subdir)
                if starts(composed, folder):
                    check(composed, name)
            except Exception as error:
                line = str(error) if isinstance(error, UserError) else translated(error, name, job)
                if line is None:
                    raise
                fail(f"{line} (in the job {short(' '.join(job), 200)})")
            self.folders.append(folder)
        os.environ[JOBS] = "?" if jobs is None else str(len(self.folders))
        begin()
        if config.hydra.launcher._target_.endswith("JoblibLauncher"):
            # joblib kills its workers: before that they save what they have.
            Multirun.running.enter_context(waiting_for(functools.partial(tell, SIGNAL), self._at_rest))

    def _at_rest(self) -> bool:
        """Whether none of the runs is being written to."""
        folders = self.folders or [lock.parent for lock in self.sweep.rglob(LOCK)]
        return not any(map(is_held, folders))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the tables, and write them for LaTeX."""
        left = end()
        Multirun.running.close()
        from orthotrace.results.groups import failures
        from orthotrace.results.run_folder import Run, below
        from orthotrace.results.summary import print_summary, where_of, write_summary

        # Methods with options of their own, and further seeds, come in several multiruns to one folder: the tables are
        # of all runs that are there.
        sweep = Path(config.hydra.sweep.dir)
        there = below(sweep)
        missing = [Run(folder) for folder in self.folders if folder not in {run.folder for run in there}]
        print_summary([*there, *missing], where_of(sweep), not_started=[Path(folder).name for folder in left])
        write_summary(sweep / "summary.tex", there)
        Multirun.failed = bool(failures([Run(folder) for folder in self.folders]))
