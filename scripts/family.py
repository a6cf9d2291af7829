"""What the scripts of continual learning end with: all results as JSON, and the tables of docs/results.

python scripts/family.py NAME    such as pmnist, for scripts/pmnist.sh

Long experiments are made in pieces, also on several machines: what is known of runs that are not here stays.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from records import read_record, write_record

from orthotrace.results.run_folder import Run, find

RESULTS = Path("scripts/results")
SCORES = ("acc", "bwt", "learning_accuracy")


@dataclass(frozen=True)
class Part:
    """The rows of a table that come from one folder of runs.

    Attributes:
        setting: in words.
        folder: of the runs.
        methods: in the order of the table; of a spiking network with its way of learning, see named.
        published: method -> ACC and BWT, as printed.
        tasks: of the runs, where the folder has runs of several numbers.
        epochs: of each task, likewise.
        cost: whether the table says seconds and MB.
        rules: whether rows of one method are told apart by how many directions it holds, see rule.
    """

    setting: str
    folder: str
    methods: tuple[str, ...]
    published: dict[str, tuple[str, str]]
    tasks: int | None = None
    epochs: int | None = None
    cost: bool = False
    rules: bool = False


# Errors go back by the weights themselves, by fixed random ones, or by the signs of the weights.
FEEDBACK = (
    *(f"{method} bptt{by}" for method in ("hlop", "finetune") for by in ("", " alignment", " sign_symmetric")),
    "hlop bptt 40 levels",
)
# Published: GPM and OWM in Saha et al., ICLR 2021; TRGP in Lin et al., ICLR 2022; HLOP (spiking, one run) in Xiao et
# al., ICLR 2024, of which ACC on permuted MNIST is not confirmed.
PUBLISHED_CIFAR100 = {"hlop dsr": (".786", "−.003"), "hlop bptt": (".786", "−.003")}
ALEXNET_10 = {"gpm": (".725", "−.009"), "trgp": (".745", "−.009")}
SUPERCLASSES = (
    "LeNet, 20 superclasses, 50 epochs at most, rate halved by 5 % for validation, batch 64, SGD .01; energy .98 + "
    ".001 for each task, 125 samples; sgp alpha 3, ewc strength 50"
)
# Liang & Li, CVPR 2023, table 1, 5 seeds.
PUBLISHED_SUPERCLASSES = {
    "gpm": (".577 ± .007", "−.012"),
    "gpm complement": (".576 ± .007", "−.010"),
    "trgp": (".582 ± .002", "−.017"),
    "api": (".602 ± .002", "−.002"),
    "ewc": (".467 ± .006", "−.135"),
}
# Of how many directions are held.
OPTIMA = tuple(f"optimum {plasticity}" for plasticity in ("0.3", "1", "3", "10"))
ENERGIES = ("energy 0.95", "energy 0.97", "energy 0.99")
PARTS = {
    "pmnist": (
        Part(
            "784-100-100-10 without biases, 5 epochs, batch 10, SGD .01; energies .95 / .99 / .99, hlop at gpm's ranks",
            "runs/permuted_mnist_gpm",
            ("finetune", "gpm", "hlop", "sgp", "trgp", "owm", "nscl"),
            {"gpm": (".939 ± .002", "−.03"), "trgp": (".963 ± .001", "−.008"), "owm": (".907", "−.01")},
        ),
        Part(
            "784-800-800-10 without biases, 1 epoch, batch 64, SGD .1; the paper's rows, no closing pass",
            "runs/permuted_mnist",
            ("hlop",),
            {"hlop": ("–", "−.013")},
        ),
    ),
    "split_cifar10": (
        Part(
            "convolutions 32-64-128 with batch normalisation, 8 epochs, batch 64, Adam .001; energies "
            ".97 + .003 for each task, 125 samples, hlop at most 200 rows a task, trgp's scales at a tenth of the rate",
            "runs/split_cifar10",
            ("finetune", "gpm", "hlop", "sgp", "trgp", "nscl"),
            {},
        ),
    ),
    "pmnist_spiking": (
        Part(
            "784-800-800-10 without biases, 1 epoch, batch 64, SGD .1; dsr 20 steps, bptt and ottt 6; the paper's "
            "rows, no closing pass; gpm energies .95 / .99 / .99; ewc strength 10",
            "runs/permuted_mnist_spiking",
            ("hlop dsr", "hlop dsr 40 levels", "hlop bptt", "hlop ottt", "gpm bptt", "ewc bptt", "finetune bptt"),
            {"hlop dsr": ("–", "−.013")},
        ),
    ),
    "split_cifar100_spiking": (
        Part(
            "convolutions 64-128-256 with batch normalisation, 2 epochs, batch 64, momentum .9, rate .01 with warm-up "
            "and cosine, 6 steps of bptt; hlop the paper's rows, gpm energy .97 + .003 for each task, 125 samples",
            "runs/split_cifar100_spiking",
            ("hlop bptt", "gpm bptt", "finetune bptt"),
            PUBLISHED_CIFAR100,
        ),
        Part(
            "the same by 20 steps of dsr, the paper's 200 epochs",
            "runs/split_cifar100_spiking",
            ("hlop dsr", "gpm dsr", "finetune dsr"),
            PUBLISHED_CIFAR100,
        ),
    ),
    "smnist": (
        Part(
            "rows of permuted MNIST in 28 steps, 128 units, 2 epochs, batch 64, Adam .001, gradients clipped at 1; "
            "ewc strength 100, gpm and hlop energy .97 + .003 for each task, owm alpha .1",
            "runs/smnist",
            tuple(
                f"{method} {cell}" for cell in ("lstm", "elman") for method in ("finetune", "ewc", "gpm", "hlop", "owm")
            ),
            {},
        ),
    ),
    "cognitive": (
        Part(
            "go, anti, delayed go, delayed anti: 256 leaky units, 50,000 trials a task in steps of 20 ms, batch 64, "
            "Adam .001, gradients clipped at 1; duncker alpha .001, gpm, hlop energy .999, ewc strength 1; published "
            "final performance of one network (12.5 million trials a task) 1.000, 1.000, .991, .989",
            "runs/cognitive",
            ("finetune", "ewc", "duncker", "gpm", "hlop"),
            {"duncker": (".995", "–")},
        ),
    ),
    "cifar100_superclasses": (
        Part(
            f"{SUPERCLASSES}, He's first weights, the weights of each task's best validation loss",
            "runs/cifar100_superclasses_published",
            ("gpm", "gpm complement", "trgp", "api", "hlop", "sgp", "ewc", "finetune"),
            PUBLISHED_SUPERCLASSES,
            cost=True,
        ),
        Part(
            f"{SUPERCLASSES}, torch's first weights, the weights of each task's last epoch",
            "runs/cifar100_superclasses",
            ("gpm", "trgp", "hlop", "finetune"),
            PUBLISHED_SUPERCLASSES,
            cost=True,
        ),
        Part(
            "as the second, with the images as published loaders read them (dataset.preparation=planes)",
            "runs/cifar100_superclasses_planes",
            ("gpm",),
            PUBLISHED_SUPERCLASSES,
            cost=True,
        ),
        Part(
            "as the first, with the images as published loaders read them",
            "runs/cifar100_superclasses_published_planes",
            ("gpm",),
            PUBLISHED_SUPERCLASSES,
            cost=True,
        ),
        Part(
            "as the first, TRGP as its published code has it (scripts/trgp_published.py)",
            "runs/cifar100_superclasses_published_trgp",
            ("trgp",),
            PUBLISHED_SUPERCLASSES,
            cost=True,
        ),
    ),
    "split_cifar100": (
        Part(
            "AlexNet-like net with statistics of each batch, 10 tasks, 20 epochs at most with early stopping on 5 % "
            "for validation, batch 64, SGD .01; energy .97 + .003 for each task, 125 samples",
            "runs/split_cifar100_alexnet",
            ("gpm",),
            ALEXNET_10,
            tasks=10,
            epochs=20,
            cost=True,
        ),
        Part(
            "the same, 200 epochs at most, as published",
            "runs/split_cifar100_alexnet",
            ("gpm", "trgp"),
            ALEXNET_10,
            tasks=10,
            epochs=200,
            cost=True,
        ),
        Part(
            "the same, 200 epochs at most, 20 tasks",
            "runs/split_cifar100_alexnet",
            ("gpm", "trgp"),
            {"gpm": (".789 ± .002", "−.001"), "trgp": (".805 ± .003", "−.003")},
            tasks=20,
            epochs=200,
            cost=True,
        ),
    ),
    "adapters": (
        Part(
            "a vision transformer (patches of 4, 64 features, 4 blocks) pretrained on 50 classes of CIFAR-100 for 12 "
            "epochs; then 5 tasks of 10 other classes with a head each, 5 epochs, batch 64, Adam .001; adapters of "
            "rank 8; energy .95 + .005 for each task, splitlora plasticity 20",
            "runs/adapters",
            ("finetune lora", "inflora lora", "splitlora lora", "eblora lora", "gpm", "finetune"),
            {},
        ),
    ),
    "optimum": (
        Part(
            "permuted MNIST, 784-100-100-10 without biases, 5 epochs, batch 10, SGD .01",
            "runs/optimum_pmnist",
            tuple(f"gpm {one}" for one in (*OPTIMA, *ENERGIES, "energy [0.95, 0.99, 0.99]")),
            {},
            rules=True,
        ),
        Part(
            "Split CIFAR-10, convolutions 32-64-128 with batch normalisation, 8 epochs, batch 64, Adam .001; 125 "
            "samples",
            "runs/optimum_split_cifar10",
            tuple(f"gpm {one}" for one in (*OPTIMA, *ENERGIES)),
            {},
            rules=True,
        ),
    ),
    "feedback": (
        Part(
            "permuted MNIST, 3 tasks, one head: 784-200-200-10, 1 epoch, batch 64, SGD .1, bptt, 6 steps; hlop 60 rows",
            "runs/feedback_permuted",
            FEEDBACK,
            {},
        ),
        Part(
            "split MNIST, 5 tasks with a head each: the same network and training",
            "runs/feedback_split",
            FEEDBACK,
            {},
        ),
    ),
}


def results(part: Part) -> dict[str, Any]:
    """Scores of all finished runs, by method."""
    # A script that tells its results as they come has parts that have not begun.
    there = find(part.folder) if Path(part.folder).is_dir() else []
    finished = [
        run
        for run in there
        if run.finished
        and part.tasks in (None, len(run.scores["accuracy"]))
        and part.epochs in (None, OmegaConf.select(run.config, "trainer.max_epochs"))
    ]
    found = {}
    for method in part.methods:
        runs = [run for run in finished if named(run, part.rules) == method]
        runs.sort(key=lambda run: run.scores["seeds"]["init"])
        if runs:
            found[method] = {
                "seeds": [run.scores["seeds"]["init"] for run in runs],
                **{score: [run.scores[score] for run in runs] for score in SCORES},
                # On each task after the last one.
                "final": [run.scores["accuracy"][-1] for run in runs],
                "leak": [max(run.scores["leak"]) if run.scores["leak"] else None for run in runs],
                "rank": [_ranks(run) for run in runs],
                "extra_memory_bytes": runs[0].scores["extra_memory_bytes"],
                "seconds": [round(sum(run.scores["seconds"])) for run in runs],
            }
    return found


def joined(known: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of one method and what was found of it, in the order of the seeds; of one seed what was found."""
    rows = {
        seed: {key: values[place] for key, values in of.items() if isinstance(values, list)}
        for of in (known, found)
        for place, seed in enumerate(of.get("seeds", ()))
    }
    ordered = [rows[seed] for seed in sorted(rows)]
    every = {**known, **found}
    return {
        key: [row.get(key) for row in ordered] if isinstance(value, list) else value for key, value in every.items()
    }


def kept(name: str) -> dict[str, dict[str, Any]]:
    """What was written before, setting -> method -> its scores: another setting is another experiment."""
    path = RESULTS / f"{name}.json"
    parts = read_record(path)["parts"] if path.is_file() else []
    return {part["setting"]: part["results"] for part in parts}


def named(run: Run, rules: bool = False) -> str:
    """The method, and what sets a network apart: its cells, adapters, how a spiking one learns, lateral neurons."""
    if rules:
        return f"{run.scores['method']} {rule(run.config)}"
    levels = OmegaConf.select(run.config, "method.levels")
    words = (
        run.scores["method"],
        OmegaConf.select(run.config, "model.cell"),
        _adapters(run.config),
        "complement" if OmegaConf.select(run.config, "method.complement") else None,
        OmegaConf.select(run.config, "model.learning"),
        OmegaConf.select(run.config, "model.feedback"),
        levels and f"{levels} levels",
    )
    return " ".join(word for word in words if word)


def rule(config: DictConfig) -> str:
    """How many directions are held: by the optimum at some plasticity, or by an energy."""
    method = config.method
    return f"optimum {method.plasticity:g}" if method.rank else f"energy {method.energy}"


def _adapters(config: DictConfig) -> str | None:
    """That a network has adapters."""
    kind = OmegaConf.select(config, "model.weights.kind")
    return "lora" if kind == "lora" else None


def _ranks(run: Run) -> dict[str, int]:
    """Rows held in each layer after the last task."""
    return {name: entry["rank"][-1] for name, entry in (run.scores["capacity"] or {}).items()}


def write(name: str) -> None:
    """Write the results, and print the table."""
    before = kept(name)
    parts = []
    for part in PARTS[name]:
        known, found = before.get(part.setting, {}), results(part)
        methods = [method for method in part.methods if method in known or method in found]
        whole = {method: joined(known.get(method, {}), found.get(method, {})) for method in methods}
        parts.append({"setting": part.setting, "results": whole})
    content = {
        "command": f"bash scripts/{name}.sh FOLDER_OF_PARQUET",
        "machine": f"CPU, jobs of 1 thread, torch {torch.__version__}, Python {platform.python_version()}",
        "parts": parts,
    }
    RESULTS.mkdir(exist_ok=True)
    write_record(RESULTS / f"{name}.json", content)
    print("\n".join(table(name)))


def table(name: str) -> list[str]:
    """The lines of the table, from the results that were written."""
    lines = []
    for part, written in zip(PARTS[name], read_record(RESULTS / f"{name}.json")["parts"], strict=True):
        if not written["results"]:
            continue
        heads = ["method", "seeds", "ACC", "BWT", "learning acc.", *(["seconds", "MB"] if part.cost else [])]
        heads.append("published ACC / BWT")
        lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for method, of in written["results"].items():
            cells = [cell(of[score]) for score in SCORES]
            if part.cost:
                cells += [f"{statistics.fmean(of['seconds']):.0f}", f"{of['extra_memory_bytes'] / 1e6:.1f}"]
            published = " / ".join(part.published.get(method, ("–",)))
            lines.append(f"| {method} | {len(of['seeds'])} | {' | '.join(cells)} | {published} |")
    return lines


def cell(values: Sequence[float]) -> str:
    """Mean ± deviation over seeds, rates without their zero.

    Example:
        >>> cell([-0.01, -0.03])
        '−.020 ± .014'
    """
    mean = f"{statistics.fmean(values):.3f}"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean}{spread}".replace("0.", ".").replace("-", "−")


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PARTS)
    write(parser.parse_args().name)


if __name__ == "__main__":
    main()
