"""The RDMs that an analysis keeps: each network has its own file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from orthotrace.analysis.networks.runs import Network
from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.rdm.rdms import joined
from orthotrace.analysis.studies.findings import keep_rdms

STIMULI = SimpleNamespace(digest="ab", descriptors=lambda: {"label": np.arange(4)})


def network(folder: str, task: int, value: float) -> Network:
    run = SimpleNamespace(folder=Path(folder), scores={"seeds": {"init": 0}})
    return Network("gpm", run, task, {"fc1": np.full(6, value)}, {})


def test_runs_of_one_name_in_several_folders_are_all_kept(tmp_path):
    places = [("all/pilot/seed=0", 1), ("all/pilot/seed=0", 2), ("all/main/seed=0", 2), ("all/main/seed=1", 2)]
    networks = [network(folder, task, float(value)) for value, (folder, task) in enumerate(places)]
    keep_rdms(tmp_path, networks, STIMULI, "correlation")
    found = {path.stem: read_rdms(path) for path in sorted(tmp_path.glob("*.safetensors"))}
    names = ["pilot_seed=0-task1", "pilot_seed=0-task2", "main_seed=0-task2", "seed=1-task2"]
    assert {name: float(found[name].dissimilarities[0, 0]) for name in names} == dict(zip(names, range(4), strict=True))
    assert len(found) == 4
    whole = joined(list(found.values()))
    assert sorted(set(whole.rdm_descriptors["run"].tolist())) == ["main_seed=0", "pilot_seed=0", "seed=1"]
    # Those of an earlier analysis go.
    keep_rdms(tmp_path, networks[3:], STIMULI, "correlation")
    assert {path.name for path in tmp_path.glob("*.*")} == {"seed=1-task2.safetensors", "seed=1-task2.json", ".sha256"}
