"""Benchmarks: ours beside a peer, interleaved in one process.

    python scripts/benchmark.py overhead [--json] [--rounds 7]   a training run over a plain loop
    python scripts/benchmark.py data FOLDER [--json]             an epoch of batches over a DataLoader, on MNIST
    python scripts/benchmark.py convolutions [--json]            the same of a convolutional net
    python scripts/benchmark.py tasks [--json]                   a step in task 50 over one in task 2
    python scripts/benchmark.py wide [--json]                    a step where a wide layer holds much, over a plain one
    python scripts/benchmark.py memory [--json]                  the peak memory of a run, beside a script that trains
    python scripts/benchmark.py rsa [--json] [--rounds 3]        RDMs, comparisons and a bootstrap, beside rsatoolbox
    python scripts/benchmark.py rsa_scale [--json]               10,000 stimuli, and 1,000 RDMs, within 4 GB; no peer
    python scripts/benchmark.py rounding FOLDER [--json]         RDMs beside unchecked products, and float64; CIFAR-10
    python scripts/benchmark.py whitening [--json] [--rounds 3]  beside BatchNorm, and alignment beside a search
    python scripts/benchmark.py spiking [--json] [--rounds 15]   beside snntorch and spikingjelly
    python scripts/benchmark.py networks [--json]                what protection adds to a step of a ViT and an LSTM

Prints one record for each case: {case, peer, ours_s, peer_s, ours_over_peer, range, ours_peak_mb, peer_peak_mb,
processor}; for rsa and alignments the ratio is peer_over_ours. promised is the bound of a ratio that has one. Seconds
are medians over the rounds, the ratio is the median of the rounds' ratios, range their least and largest, memory is
what the process grew by at its peak. Quote ratios of one run only.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import benchmark_training
import torch
from measuring import measured, processor
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, TensorDataset

from orthotrace.data.augment import Augmentation
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images
from orthotrace.data.sources import digits, table
from orthotrace.data.streams import Permuted
from orthotrace.methods import Method
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.models.mlp import MLP

EPOCHS = 5
ENERGY = [0.97, 0.99, 0.99]


def overhead(rounds: int) -> list[dict[str, Any]]:
    """A training run of each method over a plain loop: digits, MLP 64-256-256-10, 5 tasks, 1 thread."""
    torch.set_num_threads(1)
    stream = Permuted(digits())

    def model() -> MLP:
        torch.manual_seed(0)
        return MLP(stream.shape, len(stream.classes))

    capacity = benchmark_training.ours(stream, model(), GPM(energy=ENERGY), EPOCHS)["capacity"]
    # HLOP at the ranks that GPM finds.
    rows = {
        name: [after - before for before, after in zip([0, *entry["rank"]], entry["rank"], strict=False)]
        for name, entry in capacity.items()
    }
    cases: dict[str, Callable[[], Method]] = {
        "finetune": Finetune,
        "gpm": lambda: GPM(energy=ENERGY),
        "hlop": lambda: HLOP(rows=rows),
        "hlop with closing pass": lambda: HLOP(rows=rows, closing_pass=True),
    }
    benchmark_training.plain(stream, model(), EPOCHS)
    found: dict[str, list[tuple[float, float | None, float, float | None]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, make in cases.items():
            peer_s, peer_mb, _ = measured(lambda: benchmark_training.plain(stream, model(), EPOCHS))
            ours_s, ours_mb, _ = measured(lambda make=make: benchmark_training.ours(stream, model(), make(), EPOCHS))
            found[name].append((ours_s, ours_mb, peer_s, peer_mb))
    return [record(name, "TensorDataset + DataLoader loop", times) for name, times in found.items()]


class Shifted(Dataset[tuple[Tensor, int]]):
    """The peer of the data road: MNIST image by image, shifted and scaled as ours are."""

    def __init__(self, part: Images, shift: int) -> None:
        self.images = TensorDataset(part.images, part.labels)
        self.scaling = part.scaling
        self.shift = shift

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        image, label = self.images[place]
        padded = pad(image, (self.shift,) * 4)
        top, left = torch.randint(2 * self.shift + 1, (2,)).tolist()
        window = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        return (window.float() - self.scaling.mean[0]) / self.scaling.std[0], int(label)


def data(rounds: int, folder: str) -> list[dict[str, Any]]:
    """An epoch of the data road alone: MNIST, batch 64, shifts by 2, 1 thread."""
    torch.set_num_threads(1)
    train = table(path=folder).train
    peer = DataLoader(Shifted(train, 2), 64, shuffle=True)
    batches = Batches(train, 64, 0, 0, Augmentation(shift=2))
    times = []
    for _ in range(rounds):
        peer_s, peer_mb, count = measured(lambda: sum(len(labels) for _, labels in peer))
        ours_s, ours_mb, ours_count = measured(lambda: sum(len(batch.labels) for batch in batches))
        assert count == ours_count == len(train)
        times.append((ours_s, ours_mb, peer_s, peer_mb))
    return [record("epoch of MNIST with shifts", "TensorDataset + DataLoader, image by image", times)]


def convolutions(rounds: int) -> list[dict[str, Any]]:
    """A run of a convolutional net over a plain loop: generated images of 3 x 32 x 32, 1 thread."""
    return _training("convolutions", rounds)


def tasks(rounds: int) -> list[dict[str, Any]]:
    """A training step in the fiftieth task over one in the second: digits, MLP 64-256-256-10, 1 thread."""
    return _training("tasks", rounds)


def wide(rounds: int) -> list[dict[str, Any]]:
    """Steps of LeNet with 922 of 3,200 directions of its widest layer held, 1 thread."""
    return _training("wide", rounds)


def _training(name: str, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    found = getattr(benchmark_training, name)(rounds)
    return [{**record(case, peer, times), "promised": most} for case, peer, times, most in found]


def memory(rounds: int) -> list[dict[str, Any]]:
    """Peak memory of whole runs, in processes of their own; once, since it hardly varies."""
    from benchmark_memory import memory

    return memory()


def rsa(rounds: int) -> list[dict[str, Any]]:
    """RDMs, comparisons and a bootstrap beside rsatoolbox and scipy; both results must agree.

    Raises:
        RuntimeError: they do not.
    """
    from benchmark_rsa import cases

    return _beside(cases(), rounds)


def rounding(rounds: int, folder: str) -> list[dict[str, Any]]:
    """What the check of rounding costs where nothing is nearly parallel, and what it mends elsewhere; CIFAR-10."""
    from benchmark_rsa import errors, unchecked

    records = [
        {**one, "ours_over_peer": round(1 / one["peer_over_ours"], 3), "promised": 1.3}
        for one in _beside(unchecked(), rounds)
    ]
    return [*records, *errors(folder)]


def _beside(cases: list[Any], rounds: int) -> list[dict[str, Any]]:
    records = []
    for one in cases:
        # What was freed in an earlier call would hide what the next one needs: of memory the first call tells.
        _, first_mb, _ = measured(one.ours)
        times = []
        for _ in range(rounds):
            peer_s, peer_mb, theirs = measured(one.theirs)
            ours_s, ours_mb, mine = measured(one.ours)
            times.append((ours_s, ours_mb, peer_s * one.scale, peer_mb))
            if one.check is not None and not one.check(mine, theirs):
                raise RuntimeError(f"{one.name}: ours and {one.peer} do not agree")
        records.append({**inverted(record(one.name, one.peer, times), times), "ours_peak_mb": first_mb})
    return records


def rsa_scale(rounds: int) -> list[dict[str, Any]]:
    """Seconds and the peak of the process' memory, of RDMs of very many stimuli and of very many RDMs; once."""
    import benchmark_scale

    return list(benchmark_scale.rsa_scale())


def whitening(rounds: int) -> list[dict[str, Any]]:
    """Concept whitening beside batch normalisation, and alignment beside the paper's search; 1 thread."""
    import benchmark_whitening as cases

    torch.set_num_threads(1)
    records = []
    for shape, most in cases.TRAINED.items():
        times = cases.against_batch_norm(rounds * 5, shape, training=True)
        found = record(f"forward and backward, {' x '.join(map(str, shape))}", "nn.BatchNorm2d", times)
        records.append(found if most is None else {**found, "promised": most})
        times = cases.products_against_batch_norm(rounds * 5, shape)
        records.append(record(f"its five products alone, {' x '.join(map(str, shape))}", "nn.BatchNorm2d", times))
    times = cases.against_batch_norm(rounds * 5, cases.EVALUATED, training=False)
    records.append(record(f"evaluation, {' x '.join(map(str, cases.EVALUATED))}", "nn.BatchNorm2d", times))
    for width in cases.WIDTHS:
        features = cases.planted(width)
        for peer, begin in cases.BEGINNINGS.items():
            times, reached = cases.update_against_search(rounds, features, begin)
            name = f"update of R for {cases.CONCEPTS} concepts, d = {width}"
            records.append({**inverted(record(name, peer, times), times), "promised": cases.FASTER, **reached})
        for reduction in cases.REDUCTIONS:
            for peer, begin in cases.BEGINNINGS.items():
                times, reached = cases.against_search(rounds, features, reduction, begin)
                name = f"alignment of {cases.CONCEPTS} concepts, d = {width}, {reduction}"
                records.append({**inverted(record(name, peer, times), times), "promised": cases.FASTER, **reached})
    return records


def spiking(rounds: int) -> list[dict[str, Any]]:
    """A step of spiking networks beside those of snntorch, of spikingjelly, and of the ordinary network; 1 thread."""
    import benchmark_spiking as cases

    records = []
    for case, peer, times, most in cases.speed(rounds):
        found = record(case, peer, times)
        records.append(found if most is None else {**found, "promised": most})
    for case, peer, ours, theirs, most in cases.memory():
        ratio = round(ours / theirs, 3)
        found = {"case": case, "peer": peer, "ours_peak_mb": ours, "peer_peak_mb": theirs}
        records.append({**found, "ours_over_peer_mb": ratio, "promised": most})
    return records


def networks(rounds: int) -> list[dict[str, Any]]:
    """A step of projection methods on a vision transformer and an LSTM, beside finetune's; 1 thread."""
    import benchmark_networks

    torch.set_num_threads(1)
    records = []
    for case, peer, times, most in benchmark_networks.cases(rounds):
        found = record(case, peer, times)
        records.append(found if most is None else {**found, "promised": most})
    return records


def record(case: str, peer: str, times: list[tuple[float, float | None, float, float | None]]) -> dict[str, Any]:
    """The record of a case."""
    ours_s, ours_mb, peer_s, peer_mb = zip(*times, strict=True)
    ratios = [own / peer for own, peer in zip(ours_s, peer_s, strict=True)]
    return {
        "case": case,
        "peer": peer,
        "ours_s": round(statistics.median(ours_s), 4),
        "peer_s": round(statistics.median(peer_s), 4),
        "ours_over_peer": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "ours_peak_mb": None if None in ours_mb else max(ours_mb),
        "peer_peak_mb": None if None in peer_mb else max(peer_mb),
    }


def inverted(found: dict[str, Any], times: list[tuple[float, float | None, float, float | None]]) -> dict[str, Any]:
    """A record whose ratio is peer_over_ours."""
    ratios = [peer / own for own, _, peer, _ in times]
    kept = {name: value for name, value in found.items() if name != "ours_over_peer"}
    spread = [round(min(ratios), 2), round(max(ratios), 2)]
    return {**kept, "peer_over_ours": round(statistics.median(ratios), 2), "range": spread}


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs: dict[str, Callable[..., list[dict[str, Any]]]] = {
        "overhead": overhead, "convolutions": convolutions, "tasks": tasks, "wide": wide, "data": data,
        "memory": memory, "rsa": rsa, "rsa_scale": rsa_scale, "rounding": rounding, "whitening": whitening,
        "spiking": spiking, "networks": networks,
    }  # fmt: skip
    parser.add_argument("benchmark", choices=list(runs))
    parser.add_argument("folder", nargs="?", help="of Parquet files: MNIST's for data, CIFAR-10's for rounding")
    parser.add_argument("--json", action="store_true", help="records as JSON, one a line")
    parser.add_argument("--rounds", type=int, help="7; of rsa and whitening 3, of spiking 15")
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    # Lightning 2.6 on torch >= 2.13.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    if (arguments.benchmark in ("data", "rounding")) != (arguments.folder is not None):
        parser.error("data and rounding take a folder of Parquet files, the others take none")
    given = [] if arguments.folder is None else [arguments.folder]
    run = runs[arguments.benchmark]
    rounds = arguments.rounds or {"rsa": 3, "rounding": 3, "whitening": 3, "spiking": 15}.get(arguments.benchmark, 7)
    for entry in run(rounds, *given):
        if arguments.json or "peer_s" not in entry:
            print(json.dumps({**entry, "processor": processor()}), flush=True)
        else:
            seconds = f"{entry['ours_s']:8.3f} s  peer {entry['peer_s']:8.3f} s"
            ratio = f"x{entry['ours_over_peer']}" if "ours_over_peer" in entry else f"/{entry['peer_over_ours']}"
            print(f"{entry['case']:24} {seconds}  {ratio}")


if __name__ == "__main__":
    main()
