"""Similarity of the activations of networks that differ in their seed, layer by layer."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from orthotrace.analysis.networks.activations import activations
from orthotrace.analysis.networks.read import Members
from orthotrace.analysis.networks.runs import Stimuli
from orthotrace.analysis.similarity.invariances import declaration
from orthotrace.analysis.studies.consistency import PairMean, pair_mean
from orthotrace.core.errors import UserError, one_line

Similarity = Callable[[Any, Any], float]


def similarities(
    members: Members, stimuli: Stimuli, measures: Mapping[str, Similarity], **interval: Any
) -> dict[str, dict[tuple[str, int], dict[str, PairMean]]]:
    """Similarity of the activations of the networks of each method and task, layer by layer.

    Measure -> (method, task) -> layer -> mean over pairs, where there are two seeds and more, with intervals as for
    consistency.pair_mean. A measure that is not declared symmetric is computed in both directions, and the mean counts.
    A layer of all seeds is held at once, so networks run once for each layer.

    Raises:
        UserError: a measure that fails or gives no finite number; names it.
    """
    found: dict[str, dict[tuple[str, int], dict[str, PairMean]]] = {name: {} for name in measures}
    if not measures:
        return found
    jobs = [(key, layer) for key, same in members.items() if len(same) > 1 for layer in same[0].rdms]
    for key, layer in track(jobs, "similarities", transient=True, disable=not Console().is_terminal):
        values = [
            next(activations(one.run.network(one.task), stimuli.images, [layer]))[1].double() for one in members[key]
        ]
        for name, measure in measures.items():
            matrix = np.eye(len(values))
            for i, j in itertools.combinations(range(len(values)), 2):
                matrix[i, j] = matrix[j, i] = _asked(name, measure, values[i], values[j], layer)
            found[name].setdefault(key, {})[layer] = pair_mean(matrix, **interval)
    return found


def _asked(name: str, measure: Similarity, x: Any, y: Any, layer: str) -> float:
    about = declaration(measure)
    pairs = [(x, y)] if about is not None and about.symmetric else [(x, y), (y, x)]
    try:
        # Copies: a measure that works in place must not reach the others.
        answers = [measure(a.clone(), b.clone()) for a, b in pairs]
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
