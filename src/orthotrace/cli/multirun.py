"""Several runs by one command."""

import functools
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from orthotrace.cli.composed import check_composed, check_folder, starts
from orthotrace.cli.errors import fail, translated
from orthotrace.cli.jobs import JOBS, LIST, SIGNAL, SWEPT, begin, end, job_list, tell
from orthotrace.cli.objective import check_objective, set_direction, write_best
from orthotrace.cli.per_job import differs
from orthotrace.cli.plugins import check_plugins, is_queued, prepare_ray, where_jobs_print
from orthotrace.cli.pruning import check_pruning
from orthotrace.cli.shown import jobs_at_the_edges, jobs_of
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError, short
from orthotrace.core.folders import cannot_write, is_held
from orthotrace.core.interrupt import waiting_for, working_in
from orthotrace.results.listed import Job, JobList, remove_list


class Multirun(Callback):
    """Before a multirun: compose and check every job, so that a typo costs a second. After it: a table of all jobs."""

    failed = False
    # Not of the object, which launchers hand to their workers.
    running = ExitStack()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compose and check every job, and list it."""
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from orthotrace.cli.loader import JobLoader

        self.sweep = Path(str(config.hydra.sweep.dir))
        working_in(self.sweep)
        name = str(config.hydra.job.config_name)
        running = GlobalHydra.instance().hydra
        assert running is not None
        # Before the sweeper and the launcher get it. Hydra has no other place for one.
        loader = running.config_loader = JobLoader(running.config_loader.get_search_path())
        parser = OverridesParser.create(config_loader=loader)
        given, more = parser.parse_overrides(config.hydra.overrides.task), config.hydra.sweeper.get("params") or {}
        keys = [*map(str, more), *(one.get_key_element() for one in given if differs(one))]
        os.environ[SWEPT] = " ".join(key.lstrip("+~") for key in keys)
        jobs, found = jobs_of(config, loader), []
        # A sweeper that searches chooses its jobs as it goes: the outermost stand for all.
        for job in jobs_at_the_edges(config, loader) if jobs is None else jobs:
            try:
                check_plugins(config)
                composed = loader.load_sweep_config(config, job)
                check_composed(composed, composed.hydra, name, whole=False)
                check_folder(composed, "hydra.sweep.dir", "hydra.sweep.subdir")
                folder = Path(composed.hydra.sweep.dir) / str(composed.hydra.sweep.subdir)
                if starts(composed, folder):
                    check(composed, name)
                check_pruning(composed, multirun=True)
                if jobs is None and name == "train":
                    check_objective(composed)
                    set_direction(config, composed)
            except Exception as error:
                line = str(error) if isinstance(error, UserError) else translated(error, name, job)
                if line is None:
                    raise
                fail(f"{line} (in the job {short(' '.join(job), 200)})")
            found.append(Job(folder.absolute(), tuple(job)))
        trials = config.hydra.sweeper.get("n_trials")
        os.environ[JOBS] = str(len(found)) if jobs is not None else "?" if trials is None else str(trials)
        if config.get("estimate"):
            # Nothing is started: see estimate.CostEstimate.
            return
        try:
            begin(self.sweep, [] if jobs is None else found, is_queued(config))
        except OSError as error:
            fail(str(cannot_write(self.sweep, error)))
        if (where := where_jobs_print(config)) is not None:
            print(f"{os.environ[JOBS]} jobs: orthotrace-runs {self.sweep} lists them; output: {where}", flush=True)
        prepare_ray(config, {key: os.environ[key] for key in (JOBS, SWEPT, LIST)})
        if config.hydra.launcher._target_.endswith("JoblibLauncher"):
            # joblib kills its workers: before that they save what they have.
            Multirun.running.enter_context(waiting_for(functools.partial(tell, SIGNAL), at_rest))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the tables, and write them for LaTeX."""
        Multirun.end(self.sweep)

    @staticmethod
    def end(sweep: Path) -> None:
        """What is said of all jobs when the last one has ended."""
        listed = job_list()
        jobs = () if listed is None else listed.jobs
        left = end()
        Multirun.running.close()
        report(sweep, jobs, left)
        from orthotrace.results.groups import failures
        from orthotrace.results.run_folder import Run

        Multirun.failed = bool(failures([Run(job.folder) for job in jobs]))

    @staticmethod
    def cut_short() -> None:
        """A job of the launcher has ended without a result; those that another program starts go on."""
        listed = job_list()
        if listed is not None:
            sweep = listed.path.parent.parent
            if listed.queued and not ended(listed):
                print(f"the other jobs go on: orthotrace-runs {sweep}", file=sys.stderr, flush=True)
            else:
                Multirun.end(sweep)
        Multirun.failed = True


def conclude() -> None:
    """In a job that another program has started: report all if it was the last, for the command may be gone."""
    listed = job_list()
    if listed is None or not listed.queued or not ended(listed):
        return
    report(listed.path.parent.parent, listed.jobs)
    if not listed.alive:
        remove_list(listed.path)


def ended(listed: JobList) -> bool:
    """Whether all jobs of a list have finished, failed or been pruned."""
    from orthotrace.results.run_folder import Run
    from orthotrace.results.states import state_of_run

    runs = [Run(job.folder) for job in listed.jobs]
    return all(
        run.failed_file.is_file() or (run.exists and state_of_run(run).state in ("finished", "pruned")) for run in runs
    )


def report(sweep: Path, jobs: Sequence[Job], left: Sequence[str] = ()) -> None:
    """Print the tables of the runs in a folder, and write them for LaTeX, and the best of these jobs as a file.

    Methods with options of their own, and further seeds, come in several multiruns to one folder: the tables are of all
    runs that are there.
    """
    from orthotrace.results.run_folder import Run, below
    from orthotrace.results.summary import print_summary, where_of, write_summary

    there = below(sweep)
    known = {run.folder.absolute() for run in there}
    missing = [Run(job.folder) for job in jobs if job.folder.absolute() not in known]
    print_summary([*there, *missing], where_of(sweep), not_started=[Path(folder).name for folder in left])
    write_summary(sweep / "summary.tex", there)
    if (line := write_best(sweep, jobs)) is not None:
        print(line, flush=True)


def at_rest() -> bool:
    """Whether none of the runs of this multirun is being written to."""
    listed = job_list()
    if listed is None:
        return True
    return not any(map(is_held, [job.folder for job in listed.jobs]))
