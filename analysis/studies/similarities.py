"""Similarity of the activations of networks that differ in their seed, layer by layer."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.given import read_layer
from orthotrace.analysis.networks.left_out import LeftOut
from orthotrace.analysis.networks.places import Read
from orthotrace.analysis.networks.read import Members, NetworkReadings
from orthotrace.analysis.networks.runs import Network, Stimuli
from orthotrace.analysis.networks.spread import Spreading
from orthotrace.analysis.rdm.undefined import undefined
from orthotrace.analysis.similarity.all_pairs import by_vectors
from orthotrace.analysis.similarity.invariances import declaration
from orthotrace.analysis.studies.consistency import PairMean, comparable, pair_mean
from orthotrace.core.errors import UserError, one_line

Similarity = Callable[[Any, Any], float]


def similarities(
    several: Members,
    readings: NetworkReadings,
    stimuli: Stimuli,
    measures: Mapping[str, Similarity],
    left_out: list[LeftOut],
    spreading: Spreading | None = None,
    **interval: Any,
) -> dict[str, dict[tuple[str, int], dict[str, PairMean]]]:
    """Similarity of the activations of the networks of each method and task, layer by layer.

    Measure -> (method, task) -> layer -> mean over pairs, where there are two seeds and more, with intervals as for
    consistency.pair_mean. A measure that is not declared symmetric is computed in both directions, and the mean counts.
    A layer of all seeds is held at once, so networks run once for each layer. Where a measure fails for all stimuli, it
    is asked for those that both networks have in their RDMs; a network without an RDM of the layer, for which that
    fails too, is left out. Layers are spread over processes, each with all its pairs.

    Raises:
        UserError: a measure that fails or gives no finite number; names it.
    """
    found: dict[str, dict[tuple[str, int], dict[str, PairMean]]] = {name: {} for name in measures}
    if not measures:
        return found
    jobs = [(key, layer) for key in several for layer in readings.layers]
    given = [
        ([(one.run, one.task, _silent(one, layer)) for one in several[key]], layer, readings.places[layer].read)
        for key, layer in jobs
    ]
    made = (spreading or Spreading()).each(_of_layer, given, stimuli, dict(measures), readings.time.windows)
    shown = track(made, "similarities", len(jobs), transient=True, disable=not Console().is_terminal)
    for (key, layer), (places, matrices) in zip(jobs, shown, strict=True):
        same = [several[key][place] for place in places]
        for name, matrix in matrices.items():
            kept = comparable(matrix)
            for place, one in enumerate(same):
                if place not in kept:
                    left_out.append(
                        one.left_out(layer, f"similarity {name}", "it has no RDM there, and the measure fails")
                    )
            if len(kept) > 1:
                found[name].setdefault(key, {})[layer] = pair_mean(matrix[np.ix_(kept, kept)], **interval)
    return found


def _silent(one: Network, layer: str) -> NDArray[np.bool_] | None:
    """Stimuli that a network has no RDM of in a layer; None for all of them."""
    return undefined(one.rdms[layer]) if layer in one.rdms else None


def _of_layer(
    networks: Sequence[tuple[Any, int, NDArray[np.bool_] | None]],
    layer: str,
    read: Read | Literal["file"],
    stimuli: Stimuli,
    measures: Mapping[str, Similarity],
    windows: int | None,
) -> tuple[list[int], dict[str, NDArray[np.float64]]]:
    """Which of the networks can be read in a layer, and by each measure a matrix of their similarities."""
    places, values, silent = [], [], []
    for place, (run, task, missing) in enumerate(networks):
        try:
            of = read_layer(run, task, stimuli, layer, read, windows)
        except UserError:
            # It has been said that it cannot be read.
            continue
        places.append(place)
        values.append(of)
        silent.append(np.ones(len(of), dtype=bool) if missing is None else missing)
    found = {}
    every = not any(one.any() for one in silent)
    for name, measure in measures.items():
        found[name] = matrix = np.eye(len(values))
        if every and len(values) > 1 and (whole := by_vectors(measure, values)) is not None:
            found[name] = whole
            continue
        for i, j in itertools.combinations(range(len(values)), 2):
            there = ~(silent[i] | silent[j])
            matrix[i, j] = matrix[j, i] = _of_pair(name, measure, values[i], values[j], there, layer)
    return places, found


def _of_pair(name: str, measure: Similarity, x: Any, y: Any, there: NDArray[np.bool_], layer: str) -> float:
    """Of all stimuli; if that fails, of those that are there; NaN where those are too few."""
    if there.all():
        return _asked(name, measure, x, y, layer)
    try:
        return _asked(name, measure, x, y, layer)
    except UserError:
        if there.sum() < 3:
            return math.nan
        return _asked(name, measure, x[there], y[there], layer)


def _asked(name: str, measure: Similarity, x: Any, y: Any, layer: str) -> float:
    about = declaration(measure)
    pairs = [(x, y)] if about is not None and about.symmetric else [(x, y), (y, x)]
    try:
        # Copies: a measure that works in place must not reach the others.
        answers = [measure(a.clone().double(), b.clone().double()) for a, b in pairs]
    # The user's own code may fail in any way.
    except Exception as error:
        kind = "" if isinstance(error, (ValueError, UserError)) else f"{type(error).__name__}: "
        raise UserError(f"layer {layer}: {kind}{one_line(error)}", f"measures.{name}") from error
    try:
        value = sum(float(answer) for answer in answers) / len(answers)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"layer {layer}: the measure must give one number (got {type(answers[0]).__name__})", f"measures.{name}"
        ) from error
    if not math.isfinite(value):
        raise UserError(f"layer {layer}: the measure gives {value}, no finite number", f"measures.{name}")
    return value
