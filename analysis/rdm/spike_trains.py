"""Distances between responses of spiking neurons: which neuron fired, and when.

A response is the spikes of a layer to one stimulus, (steps, ...): how many, mostly 0 or 1, each neuron fired in each
step. Neurons are labelled: distances of single neurons are added up, so a spike of one never stands for another's. RDMs
of counts or rates need nothing of their own: they are those of dissimilarity.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.arrays import finite
from orthotrace.analysis.rdm.dissimilarity import squared_euclidean
from orthotrace.core.errors import UserError

# Spikes that are compared at once by Victor and Purpura's recursion: some 200 MB.
CELLS = 2**22


def van_rossum(spikes: Tensor | ArrayLike, tau: float) -> NDArray[np.float64]:
    r"""Van Rossum distance: trains are smoothed by an exponential, and their difference is integrated.

        D_ij^2 = sum_k (1 / tau) \int_0^\infty (f_ik(t) - f_jk(t))^2 dt
        f_ik(t) = sum_{spikes s <= t} exp(-(t - s) / tau)

    The integral is exact, beyond the last step too. With tau near 0, D^2 is half the number of spikes that do not
    coincide; with tau without bound, half the sum over neurons of the squared difference of counts.

    Args:
        spikes: (n, steps, ...), counts of at least 0; what follows the steps are neurons.
        tau: time constant, in steps, above 0.

    Returns:
        (n (n - 1) / 2,), at least 0.

    Raises:
        UserError: fewer than three stimuli, no steps, counts that are no whole numbers of at least 0, or another tau.

    Source: van Rossum, Neural Computation 13:751 (2001); labelled neurons: Houghton & Sen, Neural Computation 20:1495
    (2008), with an angle of 90 degrees.

    Example:
        >>> trains = [[[1], [0], [0]], [[0], [0], [1]], [[0], [0], [0]]]
        >>> van_rossum(trains, tau=1.0).round(4)
        array([0.9299, 0.7071, 0.7071])
    """
    counts = _counts(spikes)
    tau = number(tau, "tau", "a number of steps above 0", lambda one: one > 0)
    # The inner product of the traces of two spikes is exp(-|s - t| / tau) / 2: the covariance of a first-order
    # autoregression, whose root is known. It keeps its digits where tau is large and the covariance is all ones.
    steps = counts.shape[1]
    lags = np.arange(steps)
    root = np.tril(np.exp(-(lags[:, None] - lags[None]).clip(0) / tau))
    root[:, 1:] *= np.sqrt(-np.expm1(-2 / tau))
    traces = np.einsum("ba,nbk->nak", root / np.sqrt(2), counts)
    return np.sqrt(squared_euclidean(traces))


def victor_purpura(spikes: Tensor | ArrayLike, cost: float) -> NDArray[np.float64]:
    """Victor-Purpura distance: the least cost of turning one train into another.

    A spike may be added or removed at a cost of 1 each, or moved by one step at this cost; of labelled neurons the sum.
    With cost 0 it is the difference of counts, with a cost of 2 or more the number of spikes that do not coincide. It
    is a metric, and no Euclidean one.

    Args:
        spikes: as for van_rossum. Several spikes of a neuron in a step are spikes at the same time.
        cost: of moving a spike by one step, at least 0.

    Returns:
        (n (n - 1) / 2,), at least 0.

    Raises:
        UserError: as van_rossum; another cost.

    Source: Victor & Purpura, Network 8:127 (1997), D^spike.

    Example:
        >>> trains = [[[1], [0], [0]], [[0], [0], [1]], [[0], [0], [0]]]
        >>> victor_purpura(trains, cost=0.5)
        array([1., 1., 1.])
        >>> victor_purpura(trains, cost=3.0)
        array([2., 1., 1.])
    """
    counts = _counts(spikes)
    cost = number(cost, "cost", "a cost of at least 0", lambda one: one >= 0)
    n, _, neurons = counts.shape
    totals = counts.sum(axis=1).astype(np.intp)
    times = _times(counts, max(1, int(totals.max())))
    first, second = np.triu_indices(n, 1)
    found = np.zeros(len(first))
    each = max(1, CELLS // (neurons * times.shape[-1]))
    for start in range(0, len(first), each):
        a, b = first[start : start + each], second[start : start + each]
        # What has fewer spikes comes first: the distance is symmetric.
        fewer = totals[a] <= totals[b]
        of = [np.where(fewer, one[:, None], other[:, None]) for one, other in ((a, b), (b, a))]
        which = np.broadcast_to(np.arange(neurons), fewer.shape)
        less, more = (totals[one, which] for one in of)
        distances = more - less.astype(np.float64)
        # Trains of the same numbers of spikes at once; to one without spikes it is the count of the other.
        kinds, place = np.unique(np.stack([less.ravel(), more.ravel()]), axis=1, return_inverse=True)
        order = np.argsort(place.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(place.ravel()))
        for (few, many), members in zip(kinds.T.tolist(), np.split(order, ends[:-1]), strict=True):
            if few:
                rows = [times[one.ravel()[members], which.ravel()[members]].T for one in of]
                distances.ravel()[members] = _moved(rows[0][:few], rows[1][:many], cost)
        found[start : start + each] = distances.sum(axis=1)
    return found


def _moved(a: NDArray[np.float64], b: NDArray[np.float64], cost: float) -> NDArray[np.float64]:
    """The distance of each pair of trains, whose spikes are at times (spikes, pairs)."""
    steps = np.arange(len(b) + 1, dtype=np.float64)[:, None]
    # The least cost from the first spikes of a to each number of spikes of b.
    row = np.broadcast_to(steps, (len(b) + 1, a.shape[1]))
    for spike, time in enumerate(a):
        moved = row[:-1] + cost * abs(time - b)
        new = np.empty(row.shape)
        new[0] = spike + 1
        np.minimum(row[1:] + 1, moved, out=new[1:])
        # Spikes that are added cost 1 each: the least over all places before.
        new -= steps
        np.minimum.accumulate(new, axis=0, out=new)
        new += steps
        row = new
    return row[-1]


def _times(counts: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """When the spikes of each neuron were, (n, neurons, most); behind the last zeros, which nothing reads."""
    n, _, neurons = counts.shape
    found = np.zeros((n, neurons, most))
    stimulus, step, neuron = np.nonzero(counts)
    repeats = counts[stimulus, step, neuron].astype(np.intp)
    stimulus, step, neuron = (np.repeat(one, repeats) for one in (stimulus, step, neuron))
    order = np.lexsort((step, neuron, stimulus))
    stimulus, step, neuron = stimulus[order], step[order], neuron[order]
    train = stimulus * neurons + neuron
    # The place of each spike within its train.
    place = np.arange(len(train)) - np.searchsorted(train, train, side="left")
    found[stimulus, neuron, place] = step
    return found


def _counts(spikes: Any) -> NDArray[np.float64]:
    values = finite(spikes, "spikes")
    if values.ndim < 2 or len(values) < 3 or 0 in values.shape:
        raise UserError(f"(stimuli, steps, ...) of at least 3 stimuli are needed, got shape {values.shape}", "spikes")
    found = np.asarray(values, dtype=np.float64).reshape(*values.shape[:2], -1)
    if (found < 0).any() or (found != np.round(found)).any():
        raise UserError("numbers of spikes are needed: whole ones of at least 0", "spikes")
    return found
