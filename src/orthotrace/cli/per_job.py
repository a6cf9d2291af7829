"""Values of a multirun that only its jobs can know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orthotrace.config.keys import groups

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Groups whose options are in another section, and those that choose options of other groups.
SECTIONS = {"weights": "model"}
CHOOSING = ("experiment", "stream")


def left_to_jobs(overrides: Sequence[str]) -> list[str]:
    """The overrides of a multirun, with values written as choices of one where the jobs choose their options.

    Hydra composes a multirun itself, with the default of each group that is swept: of method=gpm,trgp
    method.samples=100 it would look for the samples of the default method. What is a choice it leaves to the jobs.

    Example:
        >>> left_to_jobs(["method=gpm,trgp", "method.samples=100", "seed=0"])
        ['method=gpm,trgp', 'method.samples=choice(100)', 'seed=0']
        >>> left_to_jobs(["method=gpm", "method.samples=100"])
        ['method=gpm', 'method.samples=100']
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    try:
        parsed = parser.parse_overrides(list(overrides))
    except HydraException:
        # Hydra says what is wrong with them.
        return list(overrides)
    swept = [one.key_or_group for one in parsed if one.is_sweep_override()]
    sections = groups() if set(swept) & {*CHOOSING} else [SECTIONS.get(group, group) for group in swept]
    found = []
    for word, one in zip(overrides, parsed, strict=True):
        section, _, name = one.key_or_group.partition(".")
        if one.type == OverrideType.CHANGE and name and section in sections and not one.is_sweep_override():
            key, _, value = word.partition("=")
            # None of no value.
            found.append(f"{key}=choice({value})" if value else word)
        else:
            found.append(word)
    return found


def differs(override: Override) -> bool:
    """Whether the jobs of a multirun differ in an override: whether it is a sweep, and not a choice of one."""
    from hydra.core.override_parser.types import ChoiceSweep

    value = override.value()
    return override.is_sweep_override() and not (isinstance(value, ChoiceSweep) and len(value.list) == 1)
