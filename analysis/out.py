"""Where an analysis is written, and those of a multirun."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from orthotrace.config.folder_names import LONGEST
from orthotrace.core.errors import UserError


def out_of(options: Mapping[str, Any]) -> Path:
    """The folder of an analysis: that which is given, or by what is analysed.

    Raises:
        UserError: neither runs nor networks are given, or both; or a list of networks without a folder.
    """
    runs, networks, out = options["runs"], options["networks"], str(options["out"])
    if (runs is None) == (networks is None):
        said = "is missing; write runs=FOLDER, or networks=FILE.yaml" if runs is None else "give runs or networks"
        raise UserError(said, "runs")
    # What the default comes to without runs.
    if runs is None and out == "None/analysis":
        if not isinstance(networks, str):
            raise UserError("is missing; write out=FOLDER", "out")
        return Path(networks).with_suffix("")
    return Path(out)


def folder_name(overrides: Sequence[str]) -> str:
    """The folder of an analysis of a multirun: what was set; nothing where each has an out of its own.

    Example:
        >>> folder_name(["runs=runs/digits", "rdm=cosine", "read=pre"])
        'rdm=cosine,read=pre'
        >>> folder_name(["runs=runs/digits", "rdm=cosine", "out=mine"])
        ''
    """
    given = [one.lstrip("+~").partition("=") for one in overrides]
    if any(key == "out" for key, _, _ in given):
        return ""
    safe = [
        f"{key}={re.sub('[^A-Za-z0-9._+-]+', '-', value).strip('-')}"
        for key, _, value in given
        if key not in ("runs", "networks", "name", "logger") and not key.startswith("hydra")
    ]
    return ",".join(safe)[:LONGEST]


def out_of_sweep(root: Any) -> str:
    """Where the analyses of a multirun are, as Hydra asks for it; elsewhere where nothing is said, which is told."""
    try:
        return str(out_of({key: root.get(key) for key in ("runs", "networks", "out")}))
    except UserError:
        return str(Path(tempfile.gettempdir()) / "orthotrace")


# Hydra writes a file there, which would lie around elsewhere.
OmegaConf.register_new_resolver("out_of_sweep", lambda *, _root_: out_of_sweep(_root_), replace=True)
