"""How groups of runs are called, in which order they come, and in what they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from omegaconf import OmegaConf

from orthotrace.analysis.networks.given import GivenGroup
from orthotrace.core.errors import UserError, refuse_unknown
from orthotrace.results.groups import Group, settings

AnyGroup: TypeAlias = Group | GivenGroup

SCENARIO = "stream.scenario"
# More panels than these are no better than one.
PANELS = 4
# As many groups can be told apart in one panel.
TOGETHER = 6


def named(grouped: Sequence[AnyGroup], labels: Mapping[str, str], order: Sequence[str | int | float]) -> list[AnyGroup]:
    """Groups by the user's labels and in the user's order.

    Both speak of groups by their label, or of all that have a part of it: a method, a setting such as scenario=class,
    or its value alone.

    Args:
        grouped: groups.
        labels: what a label, or a part of labels, is called instead.
        order: labels, or parts of them; what is not named comes after.

    Raises:
        UserError: there is no such label or part, or two groups would have one label.
    """
    known = [name for group in grouped for name in _names(group)]
    refuse_unknown(labels, known, "no group has", "labels")
    refuse_unknown(map(str, order), known, "no group has", "order")
    place = {str(name): number for number, name in reversed(list(enumerate(order)))}

    def places(group: AnyGroup) -> tuple[int, ...]:
        if group.label in place:
            return (place[group.label],)
        return tuple(
            min([place[one] for one in _aliases(text) if one in place] or [len(order)]) for _, text in group.parts
        )

    found = [_renamed(group, labels) for group in sorted(grouped, key=places)]
    called = [group.label for group in found]
    for label in called:
        if called.count(label) > 1:
            raise UserError(
                f"{called.count(label)} groups would be called '{label}': give each a label of its own", "labels"
            )
    return found


def _renamed(group: AnyGroup, labels: Mapping[str, str]) -> AnyGroup:
    if group.label in labels and len(group.parts) > 1:
        return replace(group, label=labels[group.label], parts=(("", labels[group.label]),))
    parts = []
    for key, text in group.parts:
        called = next((labels[one] for one in _aliases(text) if one in labels), text)
        parts.append((key, called))
    return replace(group, label=", ".join(text for _, text in parts), parts=tuple(parts))


def _names(group: AnyGroup) -> list[str]:
    return [group.label, *(one for _, text in group.parts for one in _aliases(text))]


def _aliases(text: str) -> list[str]:
    """A part of a label, and its value alone."""
    return list(dict.fromkeys([text, text.partition("=")[2] or text]))


def varied(grouped: Sequence[AnyGroup]) -> dict[str, list[Any]]:
    """Keys beside the method in which groups differ -> the value of each group; None where it has no such key.

    Values are those of the configurations, so that a group that was started without a key has its default.
    """
    given = [group.factors for group in grouped if isinstance(group, GivenGroup)]
    if given:
        keys = dict.fromkeys(key for factors in given for key in factors)
        columns = {key: [factors.get(key) for factors in given] for key in keys}
        return {key: values for key, values in columns.items() if len(set(map(str, values))) > 1}
    overrides = [dict(_pair(one) for one in settings(group.runs[0])) for group in grouped if isinstance(group, Group)]
    found = {}
    for key in dict.fromkeys([SCENARIO, *(key for of in overrides for key in of)]):
        values = [_value(group, key, of.get(key)) for group, of in zip(grouped, overrides, strict=True)]
        if len(set(map(str, values))) > 1:
            found[key] = values
    return found


def _pair(setting: str) -> tuple[str, str]:
    key, _, value = setting.partition("=")
    return key, value


def _value(group: Any, key: str, override: str | None) -> Any:
    run = group.runs[0]
    if key == SCENARIO:
        return run.scores["scenario"]
    if key == "stream":
        return run.scores["stream"]
    value = OmegaConf.select(run.config, key)
    # The name of an option, which has keys of its own.
    return (
        override if OmegaConf.is_dict(value) else OmegaConf.to_container(value) if OmegaConf.is_list(value) else value
    )


def numeric(found: Mapping[str, Sequence[Any]], least: int = 3) -> dict[str, list[float | None]]:
    """Of what varies, the keys with at least so many different numbers, and no other values.

    Example:
        >>> numeric({"method.energy": [0.9, 0.95, 0.99, None], "stream.scenario": ["class", "task"], "a": [1, 2]})
        {'method.energy': [0.9, 0.95, 0.99, None]}
    """
    return {
        key: list(values)
        for key, values in found.items()
        if all(one is None or (isinstance(one, (int, float)) and not isinstance(one, bool)) for one in values)
        and len({one for one in values if one is not None}) >= least
    }


def facet_key(grouped: Sequence[AnyGroup], wanted: str | None = "auto") -> str | None:
    """The key whose values have a panel each; None where one panel has all groups.

    By itself it is the scenario, or with more than six groups the key with the fewest values, at most four, that every
    group has; only where a panel then has several groups.

    Args:
        grouped: groups.
        wanted: auto, a key in which the groups differ, or None for one panel.

    Raises:
        UserError: the groups do not differ in the key.
    """
    if wanted is None:
        return None
    methods = {"method": [_method(group) for group in grouped if isinstance(group, Group)]}
    found = {key: values for key, values in methods.items() if values} | varied(grouped)
    if wanted != "auto":
        refuse_unknown([wanted], found, "the groups do not differ in", "facets")
        return wanted
    counts = {
        key: len(set(map(str, values)))
        for key, values in found.items()
        if key != "method" and None not in values and len(set(map(str, values))) < len(grouped)
    }
    if SCENARIO in counts:
        return SCENARIO
    fewest = min(counts, key=counts.__getitem__, default=None)
    return fewest if fewest and counts[fewest] <= PANELS and len(grouped) > TOGETHER else None


def panels_of(grouped: Sequence[AnyGroup], key: str | None) -> dict[str, dict[str, str]]:
    """Title of each panel -> label of each of its groups -> its name there, without what the title says."""
    if key is None:
        return {"": {group.label: group.label for group in grouped}}
    found = varied(grouped)
    # A column may be called so too.
    values = [_method(group) for group in grouped] if key == "method" and key not in found else found[key]
    panels: dict[str, dict[str, str]] = {}
    for group, value in zip(grouped, values, strict=True):
        last = key.rpartition(".")[2]
        own = f"{value}-incremental" if key == SCENARIO else str(value) if key == "method" else f"{last}={value}"
        said = next((text for of, text in group.parts if of == key), own)
        # What the user called it; what has its own name is told as a default is.
        title = own if said.startswith(f"{last}=") else said
        rest = ", ".join(text for of, text in group.parts if of != key) or group.label
        panels.setdefault(title, {})[group.label] = rest
    # Whole labels where the rest of them is not enough.
    return {
        title: of if len(set(of.values())) == len(of) else {label: label for label in of}
        for title, of in panels.items()
    }


def _method(group: AnyGroup) -> str:
    return str(group.runs[0].scores["method"]) if isinstance(group, Group) else group.label
