"""What a report says of its runs, so that they can be repeated: settings, seeds, commands, versions, machines."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.folder_names import IRRELEVANT, leaves
from orthotrace.results.columns import DASH
from orthotrace.results.groups import Group
from orthotrace.results.run_folder import Run

# Nodes of a configuration -> what they are called, in this order.
PARTS = {
    "dataset": "data set",
    "stream": "stream",
    "model": "network",
    "concepts": "concepts",
    "method": "method",
    "optimizer": "optimizer",
    "rates": "learning rates by layer",
    "scheduler": "schedule",
    "regularizer": "regularization",
    "augmentation": "augmentation",
    "trainer": "training",
}


@dataclass(frozen=True)
class Link:
    """A file or a folder, as a page links it.

    Attributes:
        name: that is shown.
        address: relative to the page.
    """

    name: str
    address: str

    @classmethod
    def to(cls, path: Path, page: Path, name: str = "") -> Link:
        """To a path, from a page in a folder.

        Example:
            >>> Link.to(Path("runs/a=1,b"), Path("runs/analysis"))
            Link(name='a=1,b', address='../a%3D1%2Cb')
        """
        return cls(name or path.name, quote(Path(os.path.relpath(path, page)).as_posix()))


@dataclass(frozen=True)
class Repeated:
    """What is needed to repeat a study.

    Attributes:
        settings: a table: what, and its value, or that of each group where they differ.
        commands: that train all runs.
        origins: a table: test images, versions, machines and commits, with the number of runs.
        runs: label of each group -> its folders.
    """

    settings: list[list[str]]
    commands: list[str]
    origins: list[list[str]]
    runs: dict[str, list[Link]]

    @classmethod
    def of(cls, grouped: Sequence[Group], page: Path) -> Repeated:
        """Of the groups of an analysis, for a page in a folder."""
        return cls(
            settings_table(grouped),
            [command for group in grouped for command in commands(group)],
            origins_table([run for group in grouped for run in group.runs]),
            {group.label: [Link.to(run.folder, page) for run in group.runs] for group in grouped},
        )


def analysis_command(figure: str | None = None) -> str:
    """The command that makes this analysis, or one of its figures; nothing where it was called from Python."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return ""
    words = [one for one in HydraConfig.get().overrides.task if not one.startswith("figures=")]
    if figure is not None:
        # In quotes what Hydra would read as something else than a name.
        words.append(f"figures=[{figure}]" if re.fullmatch(r"[\w.-]+", figure) else f"figures=['{figure}']")
    return shlex.join(["orthotrace-analyze", *words])


def settings_table(grouped: Sequence[Group]) -> list[list[str]]:
    """What was trained on what, and how: one value where all groups share it, else one for each."""
    rows = [["setting", "value"]]
    found = [_settings(group.runs[0]) for group in grouped]
    differ = []
    for what in dict.fromkeys(key for of in found for key in of):
        values = [of.get(what, DASH) for of in found]
        if len(set(values)) == 1:
            rows.append([what, values[0]])
        else:
            differ += [[f"{what}: {group.label}", value] for group, value in zip(grouped, values, strict=True)]
    seeds = [[f"seeds: {group.label}", _seeds(group)] for group in grouped]
    same = len({row[1] for row in seeds}) == 1
    return [*rows, *differ, *([["seeds", seeds[0][1]]] if same else seeds)]


def _settings(run: Run) -> dict[str, str]:
    config = run.config
    choices = _choices(run)
    found = {}
    for part, name in PARTS.items():
        node = OmegaConf.select(config, part)
        if node is None:
            continue
        content: Any = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        if not isinstance(content, Mapping):
            found[name] = str(content)
            continue
        set_here = [
            f"{key} {_plain(value)}" for key, value in leaves(content) if value not in (None, {}) and key[0] != "_"
        ]
        target = str(content.get("_target_", ""))
        # A class of the user's own is told by its name.
        option = target if choices.get(part) == "custom" else choices.get(part) or target.rpartition(".")[2]
        found[name] = ": ".join(one for one in (option, ", ".join(set_here)) if one)
    if "parameters" in run.scores:
        found["parameters of the network"] = str(run.scores["parameters"])
    return found


def _plain(value: Any) -> str:
    """A value as the command line writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(run: Run) -> dict[str, str]:
    """The option of each group, where Hydra's part of the configuration is there."""
    path = run.hydra / "hydra.yaml"
    found = OmegaConf.select(OmegaConf.load(path), "hydra.runtime.choices") if path.is_file() else None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, DictConfig) else {}


def _seeds(group: Group) -> str:
    """The seeds of a group: one number a run where all its seeds are one."""
    every = [run.scores["seeds"] for run in group.runs]
    if all(len(set(seeds.values())) == 1 for seeds in every):
        return ", ".join(str(next(iter(seeds.values()))) for seeds in every)
    return "; ".join(", ".join(f"{name} {value}" for name, value in seeds.items()) for seeds in every)


def commands(group: Group) -> list[str]:
    """The commands that train the runs of a group: one where they differ in one key, else one for each run."""
    given = [[one for one in run.overrides if _counts(one)] for run in group.runs]
    first = given[0]
    keys = [[one.partition("=")[0] for one in overrides] for overrides in given]
    if all(own == keys[0] for own in keys):
        differ = [place for place in range(len(first)) if len({overrides[place] for overrides in given}) > 1]
        if len(given) > 1 and len(differ) == 1:
            (place,) = differ
            values = ",".join(overrides[place].partition("=")[2] for overrides in given)
            swept = [*first[:place], f"{keys[0][place]}={values}", *first[place + 1 :]]
            return [_command(["--multirun", *swept])]
    return [_command(overrides) for overrides in given]


def _counts(override: str) -> bool:
    """Whether an override changes a result: another logger does not."""
    return override.lstrip("+~").partition("=")[0].split(".")[0].split("/")[0] not in IRRELEVANT


def _command(words: Sequence[str]) -> str:
    return shlex.join(["orthotrace-train", *words])


def origins_table(runs: Sequence[Run]) -> list[list[str]]:
    """Test images, versions, machines and commits, each with the number of runs that it was found in."""
    rows = [["origin", "value", "runs"]]
    for name, of in (("test images", _images), ("versions", _versions), ("machine", _machine), ("commit", _commit)):
        found: dict[str, int] = {}
        for run in runs:
            text = of(run.scores)
            found[text] = found.get(text, 0) + 1
        rows += [[name, text, str(count)] for text, count in found.items()]
    return rows


def _images(scores: Mapping[str, Any]) -> str:
    """How many each task has, once where they are as many."""
    counts = scores.get("test_images") or []
    if not counts:
        return "not recorded"
    return f"{counts[0]} of each task" if len(set(counts)) == 1 else f"{', '.join(map(str, counts))} of the tasks"


def _versions(scores: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in scores.get("versions", {}).items()) or "not recorded"


def _machine(scores: Mapping[str, Any]) -> str:
    about = scores.get("machine")
    if not about:
        return "not recorded"
    return "{processor}, {cores} cores; trained on {devices} x {device}; {system}".format_map(about)


def _commit(scores: Mapping[str, Any]) -> str:
    found = {name: value for name, value in (scores.get("commit") or {}).items() if value}
    called = {"here": "of the study", "orthotrace": "of orthotrace"}
    return "; ".join(f"{value} ({called.get(name, name)})" for name, value in found.items()) or "not recorded"
