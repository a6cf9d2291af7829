"""Keys of orthotrace-analyze that runs alone have, or networks that are given."""

from collections.abc import Mapping
from typing import Any

from orthotrace.core.errors import UserError


def refuse_for_runs(options: Mapping[str, Any]) -> None:
    """Refuse keys of networks that are given: runs have data sets and configurations of their own.

    Raises:
        UserError: names the first.
    """
    if options["groups"] is not None:
        raise UserError(
            "groups of runs are what their configurations differ in; this is for networks=FILE.yaml", "groups"
        )
    if options.get("dataset") is not None:
        raise UserError("runs show the images of their data set; this is for networks=FILE.yaml", "dataset")
    for key in ("path", "labels", "size", "mean", "std"):
        if options["stimuli"][key] is not None:
            raise UserError("runs show the images of their data set; this is for networks=FILE.yaml", f"stimuli.{key}")


def refuse_for_given(options: Mapping[str, Any]) -> None:
    """Refuse keys of runs: networks that are given are chosen by their list, and have no stream of tasks.

    Raises:
        UserError: names the first.
    """
    for key, value in (options["where"] or {}).items():
        if value is not None:
            raise UserError("this chooses runs; leave networks out of the list that networks= names", f"where.{key}")
    if options["epochs"] is not None:
        raise UserError(
            "this is for runs; networks that are given say by the column task what they come after", "epochs"
        )
    if options["stimuli"]["task"] is not None:
        raise UserError("networks that are given have no stream of tasks", "stimuli.task")
