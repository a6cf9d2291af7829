"""orthotrace-train: from a configuration to a run's folder."""

from __future__ import annotations

import dataclasses
import gc
import logging
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from orthotrace.cli.composed import check_composed
from orthotrace.cli.errors import mistakes_on_one_line
from orthotrace.cli.folder import is_finished, left_alone, open_folder, tell
from orthotrace.cli.groups import in_a_group, train_with_others
from orthotrace.cli.jobs import label_of, may_start, swept, told_of_failure, worker
from orthotrace.cli.launch import launch, quieten
from orthotrace.cli.multirun import conclude
from orthotrace.cli.pruning import PrunedError, Pruning, check_pruning, forget, told_of_pruned
from orthotrace.config.build import build, build_a, plain
from orthotrace.config.dataset import build_dataset
from orthotrace.config.folder_names import relevant
from orthotrace.config.network import concept_layers_of
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_text
from orthotrace.core.folders import FolderInUseError, held
from orthotrace.core.interrupt import Interrupted, deferred, stop_here, working_in
from orthotrace.core.launched import launched, scheduled
from orthotrace.core.processes import ends_with_first
from orthotrace.results.replaced import give_back, set_aside
from orthotrace.results.run_folder import Run

if TYPE_CHECKING:
    from orthotrace.training.concept_alignment import Alignment
    from orthotrace.training.experiment import Experiment
    from orthotrace.training.tracking import Tracker


def main() -> None:
    """The command."""
    launch(job, "train")


def job(config: DictConfig) -> float | tuple[float, ...] | None:
    """One job: a single run, or one of a multirun, where a failure must not stop the others.

    Returns:
        The objective, by which a sweeper may choose the next settings; None where a run has none, or failed.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    quieten()
    hydra: Any = HydraConfig.get()
    run = Run(hydra.runtime.output_dir)
    if not launched().first:
        help_first(config, run, hydra)
        return None
    if hydra.mode != RunMode.MULTIRUN:
        working_in(run.folder)
        with mistakes_on_one_line("train"):
            try:
                return train(config, run, hydra)
            finally:
                remove_if_empty(run.folder)
                # That of all runs of this name, and that of all names: of another folder nobody knows who made it.
                ours = Path(hydra.runtime.cwd) / "runs"
                if run.folder.parent == ours / str(config.name):
                    remove_if_empty(run.folder.parent)
                    remove_if_empty(ours)
    if not may_start(run.folder, hydra.overrides.task):
        # Hydra has made it.
        remove_if_empty(run.folder)
        return None
    found = one_of_many(config, run, hydra)
    conclude()
    return found


def one_of_many(config: DictConfig, run: Run, hydra: Any) -> float | tuple[float, ...] | None:
    """A job of a multirun, which a failure must not stop; see job."""
    number = label_of(hydra)
    # What is there now, modules above all, is passed over in the look for what this job leaves.
    gc.freeze()
    try:
        with worker():
            if in_a_group(run.folder):
                return train_with_others(run.folder)
            return train(config, run, hydra, number)
    except FolderInUseError as error:
        # The other process reports what becomes of the run.
        told_of_failure(config, f"{number}failed: {run.folder.name}: {error}")
    except Exception as error:
        # What the end of an interrupted run came to is no failure of it.
        stop_here()
        reason = str(error) if isinstance(error, UserError) else traceback.format_exception_only(error)[-1].strip()
        told_of_failure(config, f"{number}failed: {run.folder.name}: {reason}")
        write_text(run.failed_file, f"{reason}\n\n{traceback.format_exc()}")
    finally:
        # A network and what trains it refer to each other, and hold the images: few objects, which Python would not
        # look through for many runs.
        gc.collect()
        gc.unfreeze()
    return None


def help_first(config: DictConfig, run: Run, hydra: Any) -> None:
    """What the other processes of a run do: train with the first one, which writes and reports."""
    with mistakes_on_one_line("train"):
        if launched().by and not config.overwrite and is_finished(run, config):
            # Lightning starts helpers only where there is something left to do; a launcher starts all at once.
            return
        # What is imported here takes seconds.
        with ends_with_first():
            experiment = assemble(config, run, hydra)[0]
        experiment.run()


def remove_if_empty(folder: Path) -> None:
    """Remove the folder that Hydra made for a run which was refused, or not started."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def train(config: DictConfig, run: Run, hydra: DictConfig, number: str = "") -> float | tuple[float, ...] | None:
    """Train, or continue, or leave a finished run alone.

    Returns:
        The objective of the run; None where it has none.

    Raises:
        UserError: whatever the user can mend.
    """
    check_composed(config, hydra, "train", whole=False)
    if config.seeds_at_once > 1:
        raise UserError("trains jobs of a multirun together: add --multirun, or leave it at 1", "seeds_at_once")
    finished, value = left_alone(config, run, number)
    if finished:
        return value
    check_pruning(config, bool(number))
    if config.pruning is not None and not config.overwrite and (reason := run.pruned) is not None:
        print(f"{number}{run.folder} was pruned ({reason}); pruning=null goes on with it", flush=True)
        return told_of_pruned(run)
    check(config, "train")
    run.check_places()
    with held(run.folder):
        started = time.perf_counter()
        experiment, tracker, bar = assemble(config, run, hydra, number)
        if number and experiment.trainer.world_size > 1 and launched().by != "srun":
            raise UserError(
                "several devices and a multirun do not go together, but where srun starts each job's processes: use "
                "hydra/launcher=submitit_slurm, or start the runs singly",
                "trainer.devices",
            )
        if config.pruning is not None and experiment.trainer.world_size > 1:
            raise UserError("a run in several processes is not compared: set pruning=null", "trainer.devices")
        try:
            if config.overwrite:
                set_aside(run)
            open_folder(config, run, hydra)
            if not config.overwrite and not run.last.is_file():
                # Imports torch, which assemble has done.
                from orthotrace.cli.longer import more_epochs, take_over

                take_over(run, config, experiment.components, number)
                more_epochs(run, config, experiment.components, experiment.optimization.schedule, number)
            continues = bool(run.generations)
            forget(run)
            learn(experiment, tracker, bar, config, hydra, number)
        except PrunedError as error:
            print(f"{number}pruned: {error}: {run.folder}", flush=True)
            return told_of_pruned(run)
        except Interrupted:
            if (scheduler := scheduled()) is not None and run.folder.is_dir():
                write_text(run.preempted_file, f"by {scheduler}\n")
            raise
        finally:
            # Where nothing has come of the new run.
            if run.folder.is_dir():
                give_back(run)
    return tell(config, experiment, number, continues, started)


def learn(
    experiment: Experiment, tracker: Tracker, bar: Any, config: DictConfig, hydra: DictConfig, number: str
) -> None:
    """Run an experiment, and report it."""
    from orthotrace.training.tracking import title

    folder = experiment.run_folder.folder
    choices = hydra.runtime.choices
    tracker.start(
        folder,
        job_type="train",
        group=str(config.name),
        name=title(choices.method, config.seed, hydra.overrides.task, swept() if number else ()),
        tags=[choices.method, choices.stream, choices.dataset, choices.model],
        config=relevant(config),
    )
    failed = True
    try:
        with bar:
            experiment.run()
        failed = False
    except PrunedError:
        failed = False
        raise
    finally:
        tracker.finish(failed)


def assemble(
    config: DictConfig, run: Run, hydra: Any, number: str = "", tracker: Tracker | None = None
) -> tuple[Experiment, Tracker, Any]:
    """Build everything from the configuration; nothing is written.

    Raises:
        UserError: a value that does not fit.
    """
    # Lightning takes seconds to import: mistakes in names have been answered by now. Some libraries catch whatever is
    # raised while they are imported.
    with deferred():
        import torch

        from orthotrace.cli.progress_bar import ProgressBar
        from orthotrace.cli.task_lines import TaskLines
        from orthotrace.config.network import make_network, pretrain
        from orthotrace.core.seeds import Seeds, derived
        from orthotrace.data.augment import Augmentation
        from orthotrace.data.streams import Stream
        from orthotrace.methods.base import Method
        from orthotrace.results.found_rows import rows_argument
        from orthotrace.results.summary import REFERENCES
        from orthotrace.results.weights import weights_of
        from orthotrace.training.experiment import Experiment
        from orthotrace.training.regularizer import Regularizer
        from orthotrace.training.schedules import Constant
        from orthotrace.training.settings import Components, Optimization, Training
        from orthotrace.training.tracking import Tracker

    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    own = [one.name for one in dataclasses.fields(Training)]
    trainer: dict[str, Any] = plain(config.trainer)
    try:
        training = Training.of(**{key: trainer.pop(key) for key in own if key in trainer})
    except UserError as error:
        raise error.below("trainer") from error
    try:
        seeds = Seeds.of(**plain(config.seeds))
    except UserError as error:
        raise error.below("seeds") from error
    source = build_dataset(config, seeds.stream)
    stream = build_a(Stream, config, "stream", source=source, seed=seeds.stream)
    alignment = _alignment(config, source, stream, seeds)
    torch.manual_seed(derived(seeds.init))
    names = alignment.sets.names if alignment else None
    weights = None if config.init_from is None else weights_of(str(config.init_from))
    model = make_network(config, stream.shape, len(stream.classes), names, weights)
    if config.overwrite or not run.generations:
        pretrain(config, model, stream, derived(seeds.init, 1))
    method = build_a(Method, config, "method", **rows_argument(config, seeds))
    if alignment:
        alignment.check(model, method)
    optimizer = build(config, "optimizer")
    try:
        # An option out of its range is refused before anything is written.
        optimizer([torch.zeros(1, requires_grad=True)])
    except (TypeError, ValueError) as error:
        raise UserError(str(error).split("\n")[0], "optimizer") from error
    reporting = tracker or (TaskLines(build_a(Tracker, config, "logger"), number) if launched().first else Tracker())
    bar = ProgressBar(
        number.strip() or hydra.runtime.choices.method, stream.tasks, training.max_epochs, stream.active.score
    )
    choices = hydra.runtime.choices
    experiment = Experiment(
        run,
        Components(
            stream,
            model,
            method,
            seeds,
            {"method": choices.method, "stream": choices.stream},
            _digests(source, alignment),
        ),
        Optimization(
            optimizer,
            plain(config.rates) or {},
            build_a(Regularizer, config, "regularizer"),
            build_a(Constant, config, "scheduler"),
            build_a(Augmentation, config, "augmentation"),
        ),
        training,
        trainer,
        reporting,
        [*([bar] if bar.watched else []), *([alignment] if alignment else [])],
        # References see what the others may not.
        None
        if config.pruning is None or choices.method in REFERENCES
        else Pruning(config.pruning, run, config.overwrite),
    )
    return experiment, reporting, bar


def _digests(source: Any, alignment: Alignment | None) -> dict[str, str]:
    """Hashes by which a run that goes on, and an analysis, know whether they see the same images."""
    sources = source if isinstance(source, (list, tuple)) else [source]
    digests = {"dataset": "-".join(part.digest() for one in sources if one for part in (one.train, one.test))}
    return digests | ({"concepts": alignment.sets.digest()} if alignment else {})


def _alignment(config: DictConfig, source: Any, stream: Any, seeds: Any) -> Alignment | None:
    """What turns concept layers while they train; None where there are none."""
    if not concept_layers_of(config):
        return None
    from orthotrace.training.concept_alignment import Alignment

    if config.dataset.get("preparation", "none") != "none" and (
        config.concepts.sets.get("attributes") or config.concepts.sets.get("path")
    ):
        raise UserError(
            "attributes are measured on images as they are, as those of a folder are: set none, or concepts=classes",
            "dataset.preparation",
        )
    sets = build(config, "concepts.sets", source=source)
    options = {name: config.concepts[name] for name in ("every", "batch_size", "freeze", "weight")}
    try:
        return Alignment(sets, stream, seed=seeds.method, **options)
    except UserError as error:
        raise error.below("concepts") from error
