"""References of which entries are missing."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from orthotrace.analysis.networks.runs import Stimuli
from orthotrace.analysis.rdm.dissimilarity import correlation
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.studies.references import Reference, agreements, read_references

RNG = np.random.default_rng(0)
# Of two subjects, whose third stimulus had no answer in the first.
SUBJECTS = RNG.random((2, 15))
WHOLE = np.zeros((6, 6))
WHOLE[np.triu_indices(6, 1)] = SUBJECTS[0]
WHOLE += WHOLE.T
WHOLE[2], WHOLE[:, 2] = np.nan, np.nan
SUBJECTS[0] = WHOLE[np.triu_indices(6, 1)]
NETWORK = RNG.random(15)
NETWORK[7] = np.nan
OF_SCIPY = {
    "pearson": lambda a, b: stats.pearsonr(a, b)[0], "spearman": lambda a, b: stats.spearmanr(a, b)[0],
    "tau_b": lambda a, b: stats.kendalltau(a, b)[0],
}  # fmt: skip


def test_missing_entries_are_told_and_left_out(tmp_path):
    np.save(tmp_path / "brain.npy", SUBJECTS)
    stimuli = Stimuli(
        torch.zeros(6, 1, 2, 2), torch.arange(6) % 2, ("a", "b"), 3, None, hashlib.sha256().hexdigest(), torch.arange(6)
    )
    given = {"brain": Reference(str(tmp_path / "brain.npy"))}
    with pytest.warns(UserWarning, match="references.brain: 5 of 30 entries of .* are missing"):
        rdms = read_references(given, stimuli, correlation)["brain"]
    one: Any = SimpleNamespace(rdms={"fc1": NETWORK})
    for method, of in OF_SCIPY.items():
        found, _ = agreements("brain", {("gpm", 1): [one]}, ["fc1"], rdms, method, 0.95, [])
        there = [~np.isnan(subject) & ~np.isnan(NETWORK) for subject in SUBJECTS]
        expected = [of(subject[both], NETWORK[both]) for subject, both in zip(SUBJECTS, there, strict=True)]
        assert found["gpm", 1]["fc1"].mean == pytest.approx(np.mean(expected), abs=1e-10)


def test_the_rdm_of_a_reference_that_cannot_be_compared_is_named():
    """The network has what the one subject lacks, and nothing else that varies."""
    network = np.ones(15)
    network[np.isnan(SUBJECTS[0])] = RNG.random(np.isnan(SUBJECTS[0]).sum())
    left: list[Any] = []
    one: Any = SimpleNamespace(rdms={"fc1": network}, left_out=lambda *what: what)
    found, _ = agreements("brain", {("gpm", 1): [one]}, ["fc1"], RDMs(SUBJECTS), "pearson", 0.95, left)
    assert found == {} and left[0][2].endswith("too few, or equal beside RDM 0 of the reference")
