"""Work on networks spread over processes: the same numbers, and mistakes on one line."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch

from orthotrace.analysis.comparison import compare_networks
from orthotrace.analysis.networks.kept import KeptRdms
from orthotrace.analysis.networks.spread import PACKAGES, Spreading
from orthotrace.core.errors import UserError


@pytest.mark.parametrize(
    "backend",
    ["loky", *(pytest.param(one, marks=pytest.mark.whole) for one in PACKAGES)],
)
def test_results_are_those_of_one_process_and_nothing_is_made_again(analyze, study, tmp_path, monkeypatch, backend):
    pytest.importorskip(PACKAGES.get(backend, "joblib"))
    measure = "+measures.cka._target_=orthotrace.analysis.similarity.linear_cka"
    given = (f"runs={study}", "where.method=gpm", "tasks=all", measure)
    # Of one thread, as the workers.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert analyze(*given, "out=one").code == 0
    finally:
        torch.set_num_threads(threads)
    answer = analyze(*given, "out=two", "parallel.jobs=2", f"parallel.backend={backend}")
    assert answer.code == 0, answer.err
    assert (tmp_path / "one" / "results.json").read_bytes() == (tmp_path / "two" / "results.json").read_bytes()
    # Of what was made one is missing, as after a kill: it alone is made, by this process.
    next((tmp_path / "two" / ".kept").glob("*.safetensors")).unlink()
    made = []
    keep = KeptRdms.keep
    monkeypatch.setattr(
        KeptRdms, "keep", lambda self, run, task, found: made.append(task) or keep(self, run, task, found)
    )
    assert analyze(*given, "out=two", "parallel.jobs=2", f"parallel.backend={backend}").code == 0
    assert len(made) == 1
    first, again = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    assert first == again


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("parallel.jobs=0", "parallel.jobs: input should be greater than or equal to 1 (got 0)"),
        ("parallel.jobs=-2", "parallel.jobs: input should be greater than or equal to 1 (got -2)"),
        ("parallel.jobs=1.5", "parallel.jobs: input should be a valid integer"),
        ("parallel.backend=threads", "parallel.backend: input should be 'loky', 'dask' or 'ray' (got 'threads')"),
    ],
)
def test_a_mistake_is_one_line(analyze, study, tmp_path, override, line):
    answer = analyze(f"runs={study}", "out=out", override)
    assert answer.code == 2 and answer.err.startswith(f"error: {line}") and answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("backend", PACKAGES)
def test_a_package_that_is_missing_is_named(monkeypatch, backend):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=rf"^parallel.backend: {backend} needs .* pip install 'orthotrace\[{backend}\]'$"
    ):
        Spreading(2, backend)


def test_what_cannot_be_spread_is_refused(tmp_path):
    modules = {name: torch.nn.Linear(4, 3) for name in ("a", "b")}
    with pytest.raises(UserError, match="parallel.jobs: processes keep what they make .* give out"):
        compare_networks(modules, np.eye(4, dtype=np.float32), parallel=Spreading(2))
    with pytest.raises(UserError, match="parallel.jobs: a lies in memory"):
        compare_networks(modules, np.eye(4, dtype=np.float32), out=tmp_path / "out", parallel=Spreading(2))
    assert not (tmp_path / "out").exists()


def _refuse_odd(number: int) -> int:
    if number % 2:
        raise UserError(f"{number} is odd", "number")
    return number


def test_the_first_mistake_of_a_worker_in_order_is_told():
    with pytest.raises(UserError, match="^number: 1 is odd$"):
        list(Spreading(2).each(_refuse_odd, [(0,), (1,), (3,), (2,)]))
