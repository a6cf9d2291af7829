"""The data set of a configuration, of which no more is read than its stream shows."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.build import build, plain
from orthotrace.config.renamed import current
from orthotrace.core.errors import UserError

SEVERAL, SEQUENCE = "orthotrace.data.sources.several", "orthotrace.data.streams.Sequence"


def build_dataset(config: DictConfig, seed: int) -> Any:
    """The data set; of several those that are shown, with None in the place of the others.

    Args:
        config: with a dataset and a stream.
        seed: of the stream, which may draw the order.

    Raises:
        UserError: as build.
    """
    only = shown(config, seed)
    from orthotrace.data.sources.base import Source

    found = build(config, "dataset", **({} if only is None else {"only": only}))
    if not isinstance(found, (Source, tuple, list)):
        raise UserError(f"makes a {type(found).__name__}, and no data set", "dataset._target_")
    return found


def shown(config: DictConfig, seed: int) -> list[str] | None:
    """Which of several data sets a stream shows; None where that is not for the configuration to tell.

    Example:
        >>> dataset = {"_target_": SEVERAL, "sources": {"a": {}, "b": {}, "c": {}}}
        >>> shown(OmegaConf.create({"dataset": dataset, "stream": {"_target_": SEQUENCE, "tasks": 2}}), seed=0)
        ['a', 'b']
    """
    dataset, stream = (plain(OmegaConf.select(config, group)) for group in ("dataset", "stream"))
    kinds = [current(str(node.get("_target_"))) for node in (dataset, stream)]
    sources, tasks, order = dataset.get("sources"), stream.get("tasks"), stream.get("order", "given")
    # What does not fit is refused where it is built.
    if kinds != [SEVERAL, SEQUENCE] or not isinstance(sources, dict) or not isinstance(tasks, int):
        return None
    if not 1 <= tasks <= len(sources) or order not in ("given", "seed"):
        return None
    from orthotrace.data.streams.sequence import chosen

    names = list(sources)
    return [names[place] for place in chosen(len(names), tasks, order, seed)]
