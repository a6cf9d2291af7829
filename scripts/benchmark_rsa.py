"""The cases of `scripts/benchmark.py rsa`: rsatoolbox and scipy beside ours."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from orthotrace.analysis import inference, rdm
from orthotrace.analysis.rdm import compare

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rsatoolbox.data.dataset import Dataset
    from rsatoolbox.inference.evaluate import eval_dual_bootstrap
    from rsatoolbox.model.model import ModelFixed
    from rsatoolbox.rdm.calc import calc_rdm
    from rsatoolbox.rdm.compare import compare as compare_rdms
    from rsatoolbox.rdm.rdms import RDMs

Call = Callable[[], Any]
RESAMPLES, FEWER = 1000, 3


@dataclass(frozen=True)
class Case:
    """Ours and a peer.

    Attributes:
        name: of the case.
        peer: its name.
        ours: a call.
        theirs: a call.
        scale: the peer's time times this is that of the whole job.
        check: whether both results agree, from the two.
    """

    name: str
    peer: str
    ours: Call
    theirs: Call
    scale: float = 1.0
    check: Callable[[Any, Any], bool] | None = None


def cases(stimuli: int = 1000, features: int = 50_000, resamples: int = RESAMPLES) -> list[Case]:
    """All cases; inputs are made before anything is measured."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((stimuli, features), dtype=np.float32)
    activations = torch.from_numpy(wide)
    data = Dataset(wide)
    shared = rng.standard_normal((stimuli, 20))
    stack = np.stack([rdm.squared_euclidean(shared + rng.standard_normal((stimuli, 20))) for _ in range(30)])
    theirs = RDMs(stack)
    few, models = stack[:10], stack[10:15]
    named = {f"model {number}": one for number, one in enumerate(models)}

    def close(first: Any, second: Any) -> bool:
        return bool(np.allclose(first, second, rtol=1e-4, atol=1e-5))

    def vectors(found: Any) -> Any:
        return found.dissimilarities[0]

    def dual() -> Any:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fixed = [ModelFixed(name, one) for name, one in named.items()]
            return eval_dual_bootstrap(
                fixed, RDMs(few), method="corr", N=FEWER, k_pattern=1, k_rdm=1, use_correction=False
            )

    def pairs(name: str, method: str, ours: Callable[..., Any]) -> Case:
        return Case(
            f"30 RDMs of {stimuli} stimuli, {name}",
            "rsatoolbox",
            lambda: ours(stack),
            lambda: compare_rdms(theirs, theirs, method),
            check=close,
        )

    return [
        Case(
            f"correlation RDM, {stimuli} x {features:,} float32", "rsatoolbox", lambda: rdm.correlation(activations),
            lambda: vectors(calc_rdm(data, method="correlation")), check=close,
        ),
        Case(
            f"squared Euclidean RDM, {stimuli} x {features:,} float32", "rsatoolbox",
            lambda: rdm.squared_euclidean(activations, per_feature=True),
            lambda: vectors(calc_rdm(data, method="euclidean")), check=close,
        ),
        pairs("Pearson", "corr", compare.pearson),
        Case(
            f"30 RDMs of {stimuli} stimuli, Pearson", "scipy.spatial.distance.cdist", lambda: compare.pearson(stack),
            lambda: 1 - cdist(stack, stack, "correlation"), check=close,
        ),
        pairs("cosine", "cosine", compare.cosine),
        pairs("Spearman", "spearman", compare.spearman),
        Case(
            f"30 RDMs of {stimuli} stimuli, Spearman", "scipy.stats.spearmanr", lambda: compare.spearman(stack),
            lambda: spearmanr(stack, axis=1)[0], check=close,
        ),
        pairs("corr_cov", "corr_cov", compare.corr_cov),
        Case(
            f"dual bootstrap, {resamples} resamples, 10 RDMs, 5 models, {stimuli} stimuli",
            f"rsatoolbox, {FEWER} resamples scaled to {resamples}",
            lambda: inference.bootstrap(named, few, "pearson", "both", resamples), dual, scale=resamples / FEWER,
        ),
    ]  # fmt: skip
