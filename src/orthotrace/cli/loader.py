"""Hydra's loader of configurations, which composes once for jobs that differ in values only."""

from __future__ import annotations

import copy
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import IConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import split_key
from omegaconf.errors import OmegaConfBaseException

# Configurations that are kept.
KEPT = 64
# Of this process: launchers hand a loader of its own to each job. Files that are changed meanwhile are not read again.
_composed: dict[tuple[Any, ...], DictConfig] = {}


class JobLoader(ConfigLoaderImpl):
    """Composes what a job chooses once, and sets its values in a copy.

    Hydra composes each job of a multirun three times, at some .2 seconds each, though most differ in a seed or a rate.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        # Of another multirun.
        _composed.clear()

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of a job, as ConfigLoaderImpl composes it."""
        parsed = OverridesParser.create().parse_overrides(sweep_overrides)
        repository = self._repository(master_config)
        # What adds or removes keys of a section goes in order with its values.
        ordered = {_section(one) for one in parsed if one.type != OverrideType.CHANGE}
        values = [
            one for one in parsed if _is_value(one, master_config, repository) and _section(one) not in ordered
        ]  # fmt: skip
        lines = [str(one.input_line) for one in parsed if one not in values]
        hydra = master_config.hydra
        key = (
            str(self.get_search_path()), hydra.job.config_name, hydra.runtime.cwd, tuple(hydra.overrides.hydra),
            tuple(lines),
        )  # fmt: skip
        try:
            if key not in _composed:
                if len(_composed) >= KEPT:
                    # Such as of a search over a key that is added.
                    _composed.clear()
                _composed[key] = super().load_sweep_config(master_config, lines)
            config = copy.deepcopy(_composed[key])
            for one in values:
                if isinstance(OmegaConf.select(config, one.key_or_group), DictConfig):
                    # A group that only the composition knows, or a section by another's name.
                    return super().load_sweep_config(master_config, sweep_overrides)
                OmegaConf.update(config, one.key_or_group, one.value(), merge=True)
        except (HydraException, OmegaConfBaseException):
            # Hydra says what is wrong of the whole.
            return super().load_sweep_config(master_config, sweep_overrides)
        own = [one for one in parsed if not one.is_hydra_override()]
        config.hydra.overrides.task = [str(one.input_line) for one in own]
        form = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=own, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
        )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _repository(self, master: DictConfig) -> IConfigRepository:
        """Where the groups are, also those of hydra.searchpath."""
        if not master.hydra.searchpath:
            return self.repository
        overrides = list(master.hydra.overrides.hydra)
        return self._parse_overrides_and_create_caching_repo(master.hydra.job.config_name, overrides)[1]


def _is_value(one: Override, master: DictConfig, repository: IConfigRepository) -> bool:
    """Whether an override gives a key that is there a value; the others have a part in the composition."""
    return (
        one.type == OverrideType.CHANGE
        and one.package is None
        and not one.is_hydra_override()
        and one.key_or_group not in master.hydra.runtime.choices
        and not repository.group_exists(one.key_or_group)
    )


def _section(one: Override) -> str:
    return split_key(one.key_or_group)[0]
