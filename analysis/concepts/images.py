"""Concept images of runs: which there are, and as a network takes them."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

from orthotrace.analysis.networks.runs import stream_of
from orthotrace.config.build import build, plain
from orthotrace.config.dataset import build_dataset, shown
from orthotrace.config.network import concept_layers_of
from orthotrace.core.errors import UserError
from orthotrace.data.concepts import ConceptSets
from orthotrace.data.streams import Stream
from orthotrace.layers.reductions import Reduction, reduced
from orthotrace.results.run_folder import Run

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Concept images, as a network takes them, without masks: where a concept is would show that it is there.

    Attributes:
        inputs: (n, channels, height, width).
        has: (n, concepts).
    """

    inputs: Tensor
    has: NDArray[np.bool_]


class ConceptImageLoader:
    """The concept images of runs, measured once for all that have the same.

    Args:
        limit: images of each part at most; None for all.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._made: dict[str, tuple[Any, ConceptSets, str]] = {}

    def of(self, run: Run, task: int, sets: Mapping[str, Any] | None = None) -> tuple[ConceptSets, Stream]:
        """The concepts of a run as one of its tasks (from 1) shows them, and its stream.

        The concepts are those of the run's configuration unless others are given.
        """
        config: Any = run.trusted_config
        if sets is not None:
            config = OmegaConf.merge(config, {"concepts": {"sets": sets}})
        seed = int(run.scores["seeds"]["stream"])
        key = json.dumps([plain(config.dataset), plain(config.concepts.sets), shown(config, seed)], default=str)
        if key not in self._made:
            source = build_dataset(config, seed)
            made = build(config, "concepts.sets", source=source)
            self._made[key] = (source, made, made.digest())
        source, found, digest = self._made[key]
        if sets is None and run.scores.get("digests", {}).get("concepts", digest) != digest:
            warnings.warn(
                f"the concept images are not those that {run.folder.name} was trained with: held-out ones may have "
                "been among those that it was aligned by, so that its purity is too good",
                stacklevel=2,
            )
        stream = stream_of(run, source)
        if not 1 <= task <= stream.tasks:
            raise UserError(f"there are tasks 1 to {stream.tasks} (got {task})", "stimuli.task")
        return found.as_in_task(stream, task - 1), stream

    def parts(self, sets: ConceptSets, names: Sequence[str] = PARTS) -> dict[str, LabelledImages]:
        """The images of some parts, as a network takes them."""
        found = {}
        for name in names:
            part = sets.part(name).take(torch.arange(min(len(sets.part(name)), self.limit or len(sets.part(name)))))
            found[name] = LabelledImages(part.images.inputs(), part.has.numpy())
        return found


def concept_layers(run: Run) -> list[str]:
    """Names of the concept layers of a run's network."""
    return concept_layers_of(run.config)


def reduction(module: Any, name: Reduction = "pool_max") -> Any:
    """How maps become numbers: as a concept layer does it, or by the named reduction."""
    kind: Any = getattr(module, "reduction", name)
    return lambda maps: reduced(maps, kind)
