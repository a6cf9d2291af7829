from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orthotrace.analysis.networks.runs import Network
from orthotrace.analysis.studies.rdm_drift import rdm_drift
from orthotrace.results.statistics import mean_interval

RNG = np.random.default_rng(0)


def network(run: str, task: int, **rdms) -> Network:
    of: Any = SimpleNamespace(folder=Path(run))
    return Network("gpm", of, task, rdms, {})


def test_it_is_the_squared_correlation_with_the_first_task_of_the_same_network():
    rdms = {(run, task): RNG.random(10) for run in "ab" for task in (2, 3, 5)}
    # In no order; one lacks a layer at first, and says nothing of it.
    networks = [network(run, task, x=rdms[run, task]) for task in (5, 2, 3) for run in "ab"]
    networks[0].rdms["y"] = RNG.random(10)
    found = rdm_drift(networks, ["x", "y"], level=0.5)
    expected = [np.corrcoef(rdms[run, 2], rdms[run, 3])[0, 1] ** 2 for run in "ab"]
    assert list(found) == ["gpm"] and list(found["gpm"]) == ["x"] and list(found["gpm"]["x"]) == [3, 5]
    assert found["gpm"]["x"][3].mean == pytest.approx(np.mean(expected))
    assert found["gpm"]["x"][3].high == pytest.approx(mean_interval(expected, 0.5).high)


def test_of_one_task_there_is_none():
    assert rdm_drift([network("a", 1, x=RNG.random(10))], ["x"]) == {}
