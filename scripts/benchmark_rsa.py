"""The cases of `scripts/benchmark.py rsa` and `rounding`: rsatoolbox and scipy beside ours; ours beside float64."""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from orthotrace.analysis import inference, rdm, similarity
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.products import largest, sizes
from orthotrace.data.sources import table

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
        *aligned(stimuli, close, features=min(features, 4096)),
        Case(
            f"dual bootstrap, {resamples} resamples, 10 RDMs, 5 models, {stimuli} stimuli",
            f"rsatoolbox, {FEWER} resamples scaled to {resamples}",
            lambda: inference.bootstrap(named, few, "pearson", "both", resamples), dual, scale=resamples / FEWER,
        ),
    ]  # fmt: skip


def aligned(stimuli: int, close: Callable[[Any, Any], bool], layers: int = 30, features: int = 4096) -> list[Case]:
    """CKA of all layers of two networks: beside the same pair by pair, and beside pytorch-cka where it is installed."""
    draws = torch.Generator().manual_seed(0)
    shared = torch.randn(stimuli, 64, generator=draws)

    def network() -> list[Tensor]:
        return [
            shared @ torch.randn(64, features, generator=draws) + torch.randn(stimuli, features, generator=draws)
            for _ in range(layers)
        ]

    xs, ys = network(), network()
    name = f"{layers} x {layers} layers, {stimuli} x {features:,} float32"
    few = [(x, y) for x in xs[:2] for y in ys[:2]]
    found = [
        Case(
            f"linear CKA of {name}", "each pair by itself, scaled from 4",
            lambda: similarity.pairwise(similarity.linear_cka, xs, ys),
            lambda: [similarity.linear_cka(x, y) for x, y in few], scale=layers**2 / len(few),
        )
    ]  # fmt: skip
    with contextlib.suppress(ImportError):
        from cka.cka import cka_from_features  # type: ignore[import-not-found]

        found.append(
            Case(
                f"debiased CKA of {name}", "pytorch-cka", lambda: similarity.pairwise(similarity.debiased_cka, xs, ys),
                lambda: cka_from_features(xs, ys).numpy(), check=close,
            )
        )  # fmt: skip
    return found


def unchecked(stimuli: int = 1000, features: int = 20_000) -> list[Case]:
    """Beside products in float32 that nobody checks, as they were before, where no patterns are nearly parallel."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(stimuli, features, generator=g)
    shared = torch.randn(stimuli, 20, generator=g)
    # As a layer after its ReLU: groups of stimuli that are more or less alike.
    layer = (shared @ torch.randn(20, features, generator=g) + noise).relu_()

    def case(name: str, x: Tensor, ours: Callable[[Tensor], Any], plain: Callable[[Tensor], Any]) -> Case:
        def close(first: Any, second: Any) -> bool:
            return bool(np.allclose(first, second, rtol=1e-4, atol=1e-5 * np.abs(second).max()))

        return Case(
            f"{name}, {stimuli} x {features:,} float32", "unchecked", lambda: ours(x), lambda: plain(x), 1, close
        )

    return [
        case(f"{name}, {of}", x, ours, plain)
        for of, x in (("normal", noise), ("ReLU", layer))
        for name, ours, plain in (
            ("correlation", rdm.correlation, lambda x: _plain_directions(x, True) / 2),
            ("cosine", rdm.cosine, lambda x: _plain_directions(x, False) / 2),
            ("squared Euclidean", rdm.squared_euclidean, _plain_distances),
            ("linear CKA", lambda x: similarity.linear_cka(x, x.flip(0)), lambda x: _plain_cka(x, x.flip(0))),
        )
    ]


def _plain_gram(parts: Any, n: int) -> Tensor:
    found = torch.zeros(n, n, dtype=torch.float64)
    for part in parts:
        for start in range(0, n, 250):
            found[start : start + 250, start:] += part[start : start + 250] @ part[start:].T
    return found.triu_().add_(found.triu(1).T)


def _plain_directions(x: Tensor, centre: bool) -> Any:
    # What was looked at before too.
    x = matrix(x)
    sizes(x)
    if centre:
        largest(x)
    x = x.float()
    mean = sum(part.sum(1).double() for part in x.split(4096, 1)) / x.shape[1] if centre else torch.zeros(len(x))
    mean = torch.as_tensor(mean)[:, None].float()
    rest = torch.zeros(len(x), dtype=torch.float64)

    def parts() -> Any:
        for part in x.split(4096, 1):
            found = part - mean if centre else part
            if centre:
                rest.add_(found.sum(1))
            yield found

    product = _plain_gram(parts(), len(x)) - rest[:, None] * rest[None] / x.shape[1]
    spread = product.diagonal().sqrt()
    found = 2 - 2 * (product / spread[:, None] / spread[None]).clamp(-1, 1)
    return found[*torch.triu_indices(len(x), len(x), 1)].numpy()


def _plain_distances(x: Tensor) -> Any:
    x = matrix(x)
    largest(x)
    product = _plain_gram((part - part.mean(0) for part in x.split(4096, 1)), len(x))
    own = product.diagonal()
    found = (own[:, None] + own[None] - 2 * product).clamp_min(0)
    return found[*torch.triu_indices(len(x), len(x), 1)].numpy()


def _plain_cka(x: Tensor, y: Tensor) -> float:
    pair = (matrix(x), matrix(y))
    k, other = ((one @ one.T).double() for one in (x - x.mean(0) for x in (x / x.abs().amax() for x in pair)))
    return float((k * other).sum() / (k.norm() * other.norm()))


def errors(folder: str, stimuli: int = 150, steps: int = 100) -> list[dict[str, Any]]:
    """Consistency of two seeds in every layer beside float64: deep networks without training, and one with some.

    Products are in float32 whatever the size, as of large arrays. All measures; the largest relative error of each
    network, and its least consistent layer's value. CIFAR-10 images.
    """
    from orthotrace.analysis.rdm import patterns

    source = table(path=folder)
    images = source.test.images[:stimuli].float() / 255
    records = []
    for name in ("All-CNN-C without training", "MLP of depth 12 without training", "CNN with some training"):
        layers = [_layers(name, seed, images, source.train, steps) for seed in (0, 1)]
        for measure, function in rdm.MEASURES.items():
            if measure == "cityblock":
                # It is in float64 as it is.
                continue
            found = []
            for first, second in zip(*layers, strict=True):
                kept, patterns.LARGE = patterns.LARGE, 0
                ours = float(compare.squared_pearson(np.stack([function(one) for one in (first, second)]))[0, 1])
                patterns.LARGE = kept
                wide = [function(one.double()) for one in (first, second)]
                found.append((ours, float(compare.squared_pearson(np.stack(wide))[0, 1])))
            worst = max(found, key=lambda one: abs(one[0] - one[1]) / one[1])
            last = {"consistency": round(found[-1][0], 6), "in_float64": round(found[-1][1], 6)}
            unseen = {}
            if measure == "correlation":
                plain = np.stack([_plain_directions(one, True) for one in (layers[0][-1], layers[1][-1])])
                unseen = {"in_float32_unchecked": round(float(compare.squared_pearson(plain)[0, 1]), 6)}
            records.append(
                {
                    "case": name,
                    "measure": measure,
                    "relative_error": abs(worst[0] - worst[1]) / worst[1],
                    **last,
                    **unseen,
                }
            )
    return records


def _layers(name: str, seed: int, images: Tensor, train: Any, steps: int) -> list[Tensor]:
    """Activations after each ReLU."""
    torch.manual_seed(seed)
    if name.startswith("MLP"):
        widths = [3072, *[256] * 12]
        parts = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    elif name.startswith("All"):
        plan = [(96, 3, 1, 1), (96, 3, 1, 1), (96, 3, 2, 1), (192, 3, 1, 1), (192, 3, 1, 1), (192, 3, 2, 1),
                (192, 3, 1, 0), (192, 1, 1, 0), (10, 1, 1, 0)]  # fmt: skip
        parts = [nn.Conv2d(a, *b) for a, b in zip([3, *(one[0] for one in plan[:-1])], plan, strict=True)]
    else:
        parts = [nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 16), (16, 32), (32, 32))]
        _train(parts, train, steps)
    found, x = [], images.flatten(1) if name.startswith("MLP") else images
    with torch.no_grad():
        for part in parts:
            x = part(x).relu()
            found.append(x.flatten(1))
    return found


def _train(parts: list[Any], train: Any, steps: int) -> None:
    net = nn.Sequential(*(one for part in parts for one in (part, nn.ReLU())), nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.SGD(net.parameters(), 0.05, 0.9)
    for step in range(steps):
        at = slice(64 * step, 64 * step + 64)
        optimizer.zero_grad()
        cross_entropy(net(train.images[at].float() / 255), train.labels[at]).backward()
        optimizer.step()
