"""Hydra's launchers and sweepers that are packages of their own: which there are, and what they need set."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from orthotrace.core.errors import UserError, one_line

# Module of a plugin -> the extra of orthotrace that installs it, and its package.
PACKAGES = {
    "hydra_plugins.hydra_submitit_launcher": ("slurm", "hydra-submitit-launcher"),
    "hydra_plugins.hydra_ray_launcher": ("ray", "hydra-ray-launcher"),
    "hydra_plugins.hydra_optuna_sweeper": ("optuna", "hydra-optuna-sweeper"),
}
# Variable of the environment: the folder in which the command was given.
FOLDER = "ORTHOTRACE_FOLDER"
OPTIONS = Path(__file__).with_name("options")
# Ours that stand on one.
OURS = {"hydra_plugins.orthotrace": "hydra_plugins.hydra_submitit_launcher"}


def offer_plugins(overrides: Sequence[str]) -> None:
    """Offer our settings of the launcher and the sweeper that are chosen, in the place of the plugin's own.

    They are no files of conf/: Hydra would hold them against the plugin's, which know no further keys.
    """
    for file in sorted(OPTIONS.glob("*/*.yaml")):
        if not any(one.startswith(f"hydra/{file.parent.name}=") for one in overrides):
            continue
        from hydra.core.config_store import ConfigStore
        from hydra.core.plugins import Plugins

        # Those that are installed store theirs when they are looked for.
        Plugins.instance()
        ConfigStore.instance().store(
            file.stem, OmegaConf.load(file), f"hydra/{file.parent.name}", provider="orthotrace"
        )


def check_plugins(config: DictConfig) -> None:
    """Look for the packages of the chosen launcher and sweeper, and register ours.

    Raises:
        UserError: one is not installed; says how to install it.
    """
    for what in ("launcher", "sweeper"):
        target = str(OmegaConf.select(config, f"hydra.{what}._target_"))
        module = target.rpartition(".")[0]
        for plugin, (extra, package) in PACKAGES.items():
            if not OURS.get(module, module).startswith(plugin) or _is_there(plugin):
                continue
            choice = OmegaConf.select(config, f"hydra.runtime.choices.hydra/{what}") or package
            raise UserError(f"needs {package}: pip install 'orthotrace[{extra}]'", f"hydra/{what}={choice}")
        if what == "sweeper" and "optuna" in module:
            # Of studies in memory, and once more of jobs that failed. Optuna sets its level when it is imported.
            import optuna.logging  # pyright: ignore[reportMissingImports]

            optuna.logging.set_verbosity(logging.WARNING)
            logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.ERROR)
        if module in OURS:
            number = config.hydra.launcher.jobs_at_once
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise UserError(f"a whole number of at least 1 (got {number!r})", "hydra.launcher.jobs_at_once")
            from hydra.core.plugins import Plugins

            from orthotrace.cli import submitit_local

            # Hydra takes plugins by names below hydra_plugins alone, where no package of ours is.
            sys.modules[module] = submitit_local
            Plugins.instance().register(submitit_local.BoundedLocalLauncher)


def where_jobs_print(config: DictConfig) -> Path | None:
    """The folder in which jobs leave what they print; None where that comes to the terminal."""
    folder = OmegaConf.select(config, "hydra.launcher.submitit_folder")
    return None if folder is None else Path(str(folder).partition("%")[0])


def is_queued(config: DictConfig) -> bool:
    """Whether the launcher only asks for the jobs, which start when there is room, also when the command has ended."""
    return str(config.hydra.launcher._target_).endswith("SlurmLauncher")


def of_launcher(error: Exception) -> str | None:
    """One line for what a launcher or a sweeper raises when jobs have ended without a result; None for all else."""
    if str(error).startswith("No trials are completed"):
        return "no trial of the search has an objective: the lines above say why"
    if type(error).__module__.partition(".")[0] not in ("submitit", "ray"):
        return None
    return f"a job ended without a result, maybe for want of memory or time: {one_line(error)}"


def prepare_ray(config: DictConfig, environment: dict[str, str]) -> None:
    """Let jobs join a cluster of Ray that runs, and give its workers the variables that jobs know each other by.

    Args:
        config: of the multirun, in which they are set.
        environment: the variables.
    """
    if not str(config.hydra.launcher._target_).endswith("RayLauncher"):
        return
    # It takes lines that differ in digits alone for repetitions, such as those of two seeds.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    with open_dict(config.hydra.launcher):
        init: Any = config.hydra.launcher.ray.init
        given = OmegaConf.to_container(init.get("runtime_env") or OmegaConf.create({}))
        assert isinstance(given, dict)
        if init.get("address") or os.environ.get("RAY_ADDRESS"):
            # The plugin asks for memory of its own where none is named, and a cluster that runs refuses that.
            init.setdefault("object_store_memory", None)
        own = environment | {FOLDER: str(Path.cwd())}
        hook = {"worker_process_setup_hook": f"{__name__}.{enter_folder.__name__}"}
        init.runtime_env = hook | given | {"env_vars": own | dict(given.get("env_vars") or {})}


def enter_folder() -> None:
    """Work where the command was given: a worker of a cluster that runs starts where that was started."""
    os.chdir(os.environ[FOLDER])


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
