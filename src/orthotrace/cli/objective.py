"""What a sweeper that searches is told of a run, and the best configuration of a multirun as a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.conf import conf_folder
from orthotrace.config.keys import groups
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_text
from orthotrace.results.columns import COLUMNS
from orthotrace.results.listed import Job
from orthotrace.results.run_folder import Run

# Costs are no scores: less is better.
COSTS = ("seconds", "extra_memory_bytes")
# Of one task there is none.
OF_TWO = ("bwt", "forgetting")


def names_of(config: DictConfig) -> list[str]:
    """The objectives of a configuration, in their order; that of a run of an older version is the default."""
    if "objective" not in config:
        return ["val_acc"]
    return [config.objective] if isinstance(config.objective, str) else [str(one) for one in config.objective]


def value_of(config: DictConfig, scores: Mapping[str, Any]) -> float | tuple[float, ...] | None:
    """What a job returns of its scores: a number, or one for each of several objectives; None where one is missing.

    Example:
        >>> config = OmegaConf.create({"objective": ["val_acc", "seconds"]})
        >>> value_of(config, {"val_acc": 0.5, "seconds": [1.0, 2.0]})
        (0.5, 3.0)
    """
    values = [_value(scores.get(name)) for name in names_of(config)]
    if any(value is None for value in values):
        return None
    found = tuple(value for value in values if value is not None)
    return found[0] if isinstance(config.objective, str) else found


def direction_of(name: str) -> str:
    """Which way an objective is better.

    Example:
        >>> direction_of("val_acc"), direction_of("forgetting"), direction_of("seconds")
        ('maximize', 'minimize', 'minimize')
    """
    return "minimize" if name in COSTS or COLUMNS[name].better < 0 else "maximize"


def check_objective(config: DictConfig) -> None:
    """Refuse an objective that no run of a sweep has.

    Raises:
        UserError: says what to do.
    """
    for name in names_of(config):
        if name == "val_acc" and not OmegaConf.select(config, "stream.validation"):
            raise UserError(
                "val_acc needs images held out: set stream.validation above 0, or choose another one", "objective"
            )
        if name in OF_TWO and OmegaConf.select(config, "stream.tasks") == 1:
            raise UserError(f"{name} needs two tasks: set stream.tasks, or choose another one", "objective")


def set_direction(config: DictConfig, composed: DictConfig) -> None:
    """Tell Optuna's sweeper which way the objectives are better, where the user has not, and a seed for its draws.

    Args:
        config: of the multirun, which is changed.
        composed: that of a job.

    Raises:
        UserError: there are not as many directions as objectives.
    """
    sweeper, names = config.hydra.sweeper, names_of(composed)
    one = isinstance(composed.objective, str)
    if sweeper.direction is None:
        directions = [direction_of(name) for name in names]
        sweeper.direction = directions[0] if one else directions
    elif (len(sweeper.direction) if OmegaConf.is_list(sweeper.direction) else 1) != len(names):
        raise UserError(f"one for each objective ({', '.join(names)}), in a list", "hydra.sweeper.direction")
    if "seed" in (sweeper.get("sampler") or {}) and sweeper.sampler.seed is None:
        sweeper.sampler.seed = 0


def write_best(sweep: Path, jobs: Sequence[Job]) -> str | None:
    """Write the best configuration of a multirun as an option of experiment; seeds that vary are averaged.

    Args:
        sweep: the folder of the runs; the file is experiment/best.yaml in it.
        jobs: those that ran; the first of their objectives decides.

    Returns:
        A line that says so; None where there are not two settings with a value, or only options of groups vary, such
        as methods that are compared.
    """
    varied = [key for key in dict.fromkeys(_key(one) for job in jobs for one in job.overrides) if _varies(jobs, key)]
    seeds = [key for key in varied if key.split(".")[0] in ("seed", "seeds")]
    if not any(key not in groups() for key in varied if key not in seeds):
        return None
    settings: dict[tuple[str, ...], list[float]] = {}
    name = ""
    for job in jobs:
        setting, run = tuple(one for one in job.overrides if _key(one) not in seeds), Run(job.folder)
        # What is damaged is told elsewhere.
        with suppress(UserError):
            if not (run.exists and run.scores_file.is_file() and run.finished):
                continue
            name = name or names_of(run.config)[0]
            if (value := _value(run.scores.get(name))) is not None:
                settings.setdefault(setting, []).append(value)
    most = max(map(len, settings.values()), default=0)
    whole = {setting: fmean(values) for setting, values in settings.items() if len(values) == most}
    if len(whole) < 2:
        return None
    choose = min if direction_of(name) == "minimize" else max
    best = choose(whole, key=lambda setting: whole[setting])
    told = " ".join(one for one in best if _key(one) in varied)
    line = f"best by {name} of {len(whole)} settings ({whole[best]:.4g}): {told}"
    folders = _own_folders(jobs[0])
    if (content := as_experiment(best, folders)) is None:
        return line
    file = sweep / "experiment" / "best.yaml"
    write_text(file, f"# @package _global_\n# The best of {len(whole)} settings by {name}: {whole[best]!r}.\n{content}")
    words = ["--config-dir", str(sweep), "experiment=best"]
    chosen = {
        one.lstrip("+").replace("=", "/", 1) for one in best if _key(one) in groups() and _key(one) != "experiment"
    }
    if needed := [one for one in folders if any((one / f"{option}.yaml").is_file() for option in chosen)]:
        words.append(f"hydra.searchpath=[{','.join(f'file://{one}' for one in needed)}]")
    return f"{line}; train it with {shlex.join(words)}"


def as_experiment(overrides: Sequence[str], folders: Sequence[Path] = ()) -> str | None:
    """Overrides as the text of an option of experiment; None where one takes a key away, which a file cannot.

    Args:
        overrides: of a job.
        folders: of configurations of the user's own; an experiment of theirs is written out, since --config-dir names
            one folder alone, and it may be called best itself.

    Example:
        >>> print(as_experiment(["experiment=digits", "method=gpm", "method.energy=0.9", "+model.mine=[1,2]"]), end="")
        defaults:
        - digits
        - override /method: gpm
        method:
          energy: 0.9
        model:
          mine:
          - 1
          - 2
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString

    experiments: list[str] = []
    options: dict[str, str] = {}
    keys = OmegaConf.create()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if override.is_delete():
            return None
        if key.split(".")[0].split("/")[0] in ("hydra", "name", "overwrite", "logger"):
            continue
        if key == "experiment":
            experiments = [str(value)]
        elif key in groups():
            options[f"override /{key}"] = str(value)
        else:
            plain = value.text if isinstance(value, QuotedString) else value
            OmegaConf.update(keys, key, plain, force_add=True)
    # That of an experiment of the user's own stands before what was given beside it.
    while experiments and (own := _own_experiment(experiments[-1], folders)) is not None:
        experiments.pop()
        for one in own.pop("defaults", None) or []:
            if isinstance(one, Mapping):
                options = {str(name): str(option) for name, option in one.items()} | options
            elif one != "_self_":
                experiments.append(str(one))
        keys = OmegaConf.merge(own, keys)
    defaults = [*experiments, *({name: option} for name, option in options.items())]
    content: dict[Any, Any] = ({"defaults": defaults} if defaults else {}) | dict(keys)
    return OmegaConf.to_yaml(OmegaConf.create(content))


def _own_folders(job: Job) -> list[Path]:
    """The folders of configurations beside ours that a job was composed from."""
    try:
        sources = OmegaConf.select(OmegaConf.load(Run(job.folder).hydra / "hydra.yaml"), "hydra.runtime.config_sources")
        return [Path(one.path) for one in sources or () if one.schema == "file" and one.provider != "main"]
    except Exception:  # of what is damaged nearly anything can be raised
        return []


def _own_experiment(name: str, folders: Sequence[Path]) -> Any:
    """What an experiment of the user's own holds; None for ours, which go before, and where there is none."""
    files = [folder / "experiment" / f"{name}.yaml" for folder in (conf_folder(), *folders)]
    file = next((one for one in files if one.is_file()), files[0])
    return None if file == files[0] else OmegaConf.load(file)


def _value(found: Any) -> float | None:
    # Seconds are those of each task.
    if isinstance(found, list):
        found = sum(found)
    return None if found is None else float(found)


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _varies(jobs: Sequence[Job], key: str) -> bool:
    return len({tuple(one for one in job.overrides if _key(one) == key) for job in jobs}) > 1
