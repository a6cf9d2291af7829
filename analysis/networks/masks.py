"""RDMs of networks whose dropout masks are drawn at test too, averaged over masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.modules.dropout import _DropoutNd

from orthotrace.analysis.networks.given import BuiltNetwork, GivenNetwork, digest_of_state, read_layers
from orthotrace.analysis.networks.places import Read
from orthotrace.analysis.networks.read import dissimilar, incomparable
from orthotrace.analysis.networks.runs import Stimuli
from orthotrace.analysis.networks.windows import TimeReading
from orthotrace.analysis.rdm.rdms import Measure
from orthotrace.analysis.rdm.undefined import partial_rdm
from orthotrace.layers.nonlinearities import is_nonlinearity

Rdm = NDArray[np.float64]
# What is averaged over masks.
Average = Literal["activations", "rdms"]


def with_dropout(run: Any, task: int) -> nn.Module | None:
    """The network of a run, or one that was given, in evaluation mode but for its dropout; None where it has none.

    Dropout are modules such as nn.Dropout, and that of regularizer.dropout, which is no part of a run's network.
    """
    if isinstance(run, GivenNetwork):
        stage = run.stages[task]
        if not isinstance(stage, BuiltNetwork):
            return None
        model, rate = stage.network(), 0.0
    else:
        model, rate = run.network(task), OmegaConf.select(run.config, "regularizer.dropout") or 0.0
    modules = [one for one in model.modules() if isinstance(one, _DropoutNd) and one.p > 0]
    for one in modules:
        one.train()
    # As in training: what a nonlinearity gives.
    acts = [one for one in model.modules() if is_nonlinearity(one)] if rate else []
    for one in acts:
        one.register_forward_hook(lambda *of: dropout(of[-1], rate, training=True))
    return model if modules or acts else None


def averaged_rdms(
    run: Any,
    task: int,
    model: nn.Module,
    stimuli: Stimuli,
    layers: Sequence[str],
    measure: Measure,
    read: Read,
    counts: Sequence[int],
    average: Average,
    seed: int,
    time: TimeReading | None = None,
) -> Iterator[tuple[int, dict[str, Rdm]]]:
    """RDMs of some layers, averaged over the first masks, by the number of masks; of layers that have one.

    Each stimulus has a mask of its own, as nn.Dropout draws them. Masks are drawn from the seed, the weights of the
    network, and their number: those of two networks are independent, and the same ones come again.

    Args:
        run: where the network comes from.
        task: after which.
        model: of with_dropout.
        stimuli: that it sees.
        layers: by the names that they have in the analysis.
        measure: of dissimilarity.
        read: where layers are read.
        counts: numbers of masks, in order.
        average: activations over masks, of which the RDM is made; or RDMs, one of each mask.
        seed: of the masks.
        time: how spiking networks are read.
    """
    weights, device = digest_of_state(model), next(model.parameters(), torch.zeros(())).device
    total: dict[str, Any] = {}
    for number in range(1, counts[-1] + 1):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(_seed(f"{seed} {weights} {number}"))
            found = read_layers(run, task, stimuli, layers, read, model, time)
        for name, values in found:
            if name in layers:
                # In the type of the activations, as masks are few; in half precision sums would stall.
                wide = values if values.element_size() > 2 else values.float()
                one = wide if average == "activations" else _counted(partial_rdm(measure, values))
                if name in total:
                    total[name] += one
                else:
                    total[name] = one
        if number in counts:
            yield number, dict(_means(total, number, measure))


def _counted(rdm: Rdm) -> Rdm:
    """An RDM with 0 where it is undefined, and whether it is defined, (2, m)."""
    return np.stack([np.nan_to_num(rdm), ~np.isnan(rdm)])


def _means(total: Mapping[str, Any], number: int, measure: Measure) -> Iterator[tuple[str, Rdm]]:
    """The RDM of each layer that can be compared; of RDMs the mean over the masks under which each entry is defined."""
    for name, values in total.items():
        if isinstance(values, Tensor):
            rdm, why = dissimilar(measure, values / number)
        else:
            rdm = np.where(values[1] > 0, values[0] / np.maximum(values[1], 1), np.nan)
            why = incomparable(rdm)
        if not why:
            yield name, rdm


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
