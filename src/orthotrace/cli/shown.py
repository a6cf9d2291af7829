"""What --cfg and --info print, in a multirun for each job."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Container

from orthotrace.config.conf import conf_folder
from orthotrace.core.errors import UserError


def show(flags: argparse.Namespace, config_name: str) -> None:
    """Print what the flags ask for.

    Raises:
        UserError: a package that there is not, or a multirun whose jobs nobody knows yet.
    """
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    search = create_config_search_path(flags.config_path or str(conf_folder()))
    if flags.config_dir:
        search.prepend("command-line", f"file://{flags.config_dir}", SearchPathQuery(provider="schema"))
    name = (flags.config_name or config_name).removesuffix(".yaml")
    try:
        hydra = Hydra.create_main_hydra2(f"orthotrace-{config_name}", search)
        if not flags.multirun:
            _show_one(hydra, name, flags, flags.overrides)
            return
        config = hydra.compose_config(name, flags.overrides, RunMode.MULTIRUN)
        if (jobs := jobs_of(config, hydra.config_loader)) is None:
            raise UserError("this sweeper chooses its jobs as it goes: write one job, without --multirun", "--cfg")
        own = [one for one in flags.overrides if one.lstrip("+~").startswith("hydra")]
        for number, job in enumerate(jobs, start=1):
            # For YAML one document each.
            print(f"---\n# job {number} of {len(jobs)}: {' '.join(job)}", flush=True)
            _show_one(hydra, name, flags, [*own, *job])
    finally:
        GlobalHydra.instance().clear()


def jobs_of(config: DictConfig, loader: Any) -> list[list[str]] | None:
    """The overrides of each job of a multirun; None where its sweeper chooses them as it goes."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return None
    parser = OverridesParser.create(config_loader=loader)
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    values: dict[str, list[str]] = {}
    for one in parser.parse_overrides([*params, *config.hydra.overrides.task]):
        sweep = one.sweep_string_iterator() if one.is_discrete_sweep() else [one.get_value_element_as_str()]
        values[one.get_key_element()] = list(sweep)
    return [list(job) for job in itertools.product(*([f"{key}={value}" for value in of] for key, of in values.items()))]


def jobs_at_the_edges(config: DictConfig, loader: Any) -> list[list[str]]:
    """Two jobs as a sweeper that searches may choose them: the first and the last of several values, or the bounds."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=loader)
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    jobs: list[dict[str, str]] = [{}, {}]
    for one in parser.parse_overrides([*params, *config.hydra.overrides.task]):
        value: Any = one.value()
        if one.is_discrete_sweep():
            all_of_it = list(one.sweep_string_iterator())
            values = [all_of_it[0], all_of_it[-1]]
        elif one.is_interval_sweep():
            values = [str(value.start), str(value.end)]
        else:
            values = [one.get_value_element_as_str()] * 2
        for job, text in zip(jobs, values, strict=True):
            job[one.get_key_element()] = text
    return [[f"{key}={value}" for key, value in job.items()] for job in jobs]


def _show_one(hydra: Any, name: str, flags: argparse.Namespace, overrides: Sequence[str]) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if flags.info:
        # Hydra prints it by a handler that it adds to those that are there.
        before = logging.root.handlers[:]
        try:
            hydra.show_info(flags.info, name, list(overrides))
        finally:
            logging.root.handlers[:] = before
        return
    config = hydra.compose_config(name, list(overrides), RunMode.RUN)
    HydraConfig.instance().set_config(config)
    OmegaConf.set_readonly(config.hydra, None)
    if flags.resolve:
        # Before parts are left out that others name.
        OmegaConf.resolve(config)
    shown: Any = hydra.get_sanitized_cfg(config, flags.cfg)
    if flags.package not in (None, "_global_"):
        shown = OmegaConf.select(shown, flags.package)
        if shown is None:
            raise UserError(f"there is nothing at {flags.package}", "--package")
        if isinstance(shown, Container):
            print(f"# @package {flags.package}")
    sys.stdout.write(OmegaConf.to_yaml(shown) if isinstance(shown, Container) else f"{shown}\n")
