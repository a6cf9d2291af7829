"""Damage to every kind of file that is read back, and files that would leave a mark if they were run: for make chaos."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import TINY, called
from damage import KINDS, cases, damage
from images import write_tables
from omegaconf import OmegaConf
from tally import Tally

from orthotrace.analysis.networks.storage import read_arrays, read_rdms, write_rdms
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.core.digests import NAME
from orthotrace.core.errors import UserError
from orthotrace.data.sources import table
from orthotrace.results.run_folder import Run, load, read_checkpoint


def digest(*tensors: torch.Tensor) -> str:
    """Of the bits of tensors."""
    return hashlib.sha256(b"".join(one.detach().contiguous().numpy().tobytes() for one in tensors)).hexdigest()


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: for the table.
        path: of one.
        other: another whole one of the kind, whose content it may get.
        read: gives something that can be compared.
        together: files that are damaged too, such as the digests.
    """

    name: str
    path: Path
    other: Path
    read: Callable[[], Any]


def network(run: Path) -> str:
    """The bits of the network after the first task."""
    return digest(*load(run, 1).state_dict().values())


def kinds(folder: Path) -> Iterator[Kind]:
    """All kinds, in a folder."""
    from orthotrace.cli.train import main

    runs = folder / "runs"
    called(main, "--multirun", f"hydra.sweep.dir={runs}", "method=gpm", "seed=0,1", *TINY)
    one, two = sorted(path.parent for path in runs.glob("*/scores.json"))
    for name in ("task1", "last"):
        path = Path("checkpoints") / f"{name}.ckpt"
        read = {
            "task1": lambda: network(one),
            "last": lambda: digest(*read_whole(Run(one).last)["state_dict"].values()),
        }[name]
        yield Kind(f"checkpoints/{name}.ckpt", one / path, two / path, read)
    for path, read in {
        "scores.json": lambda: Run(one).scores,
        ".hydra/config.yaml": lambda: OmegaConf.to_container(Run(one).config),
        ".hydra/overrides.yaml": lambda: Run(one).overrides,
        # Of a digest everything is read that it stands for.
        NAME: lambda: Run(one).scores,
        f"checkpoints/{NAME}": lambda: network(one),
        f".hydra/{NAME}": lambda: OmegaConf.to_container(Run(one).config),
    }.items():
        yield Kind(path, one / path, two / path, read)
    made = [
        RDMs(np.random.default_rng(seed).uniform(size=(2, 10)), "correlation", {"kind": np.array(list("abcde"))})
        for seed in (0, 1)
    ]
    (folder / "rdms").mkdir()
    for end, files in {".safetensors": (".safetensors", ".json"), ".h5": (".h5",)}.items():
        path, other = folder / "rdms" / f"one{end}", folder / "rdms" / f"two{end}"
        write_rdms(path, made[0])
        write_rdms(other, made[1])
        for suffix in files:
            yield Kind(
                f"RDMs{suffix}", path.with_suffix(suffix), other.with_suffix(suffix),
                lambda path=path: (read_rdms(path).dissimilarities.tobytes(), str(read_rdms(path).pattern_descriptors)),
            )  # fmt: skip
    os.environ["ORTHOTRACE_CACHE"] = str(folder / "cache")
    images, others = (str(write_tables(folder / name, 3, count)) for name, count in (("images", 5), ("others", 6)))
    table(path=images)
    there = set((folder / "cache").rglob("*.*"))
    table(path=others)
    for path in sorted(there):
        if path.is_file():
            (other,) = [one for one in (folder / "cache").rglob(path.name) if one not in there]
            yield Kind(f"cache of images: {path.name}", path, other, lambda: image_bits(images))


def read_whole(path: Path) -> dict[str, Any]:
    """A checkpoint, as a run that goes on reads it."""
    from orthotrace.core.files import read

    return read(path, read_checkpoint)


def image_bits(path: str) -> str:
    """The bits of decoded images and labels."""
    source = table(path=path)
    return digest(source.train.images, source.train.labels, source.test.images, source.test.labels)


def restored(kind: Kind) -> Callable[[], None]:
    """Gives back all files of the folder of one as they are now."""
    content = {path: path.read_bytes() for path in kind.path.parent.iterdir() if path.is_file()}

    def give_back() -> None:
        kind.path.parent.mkdir(parents=True, exist_ok=True)
        for path in kind.path.parent.iterdir():
            if path.is_file() and path not in content:
                path.unlink()
        for path, before in content.items():
            path.write_bytes(before)

    return give_back


def damaged_files(folder: Path, flips: int, seed: int) -> Iterator[Tally]:
    """Each kind of file: bits that flip, ends that are cut off, empty, missing, and another's content."""
    for kind in kinds(folder):
        tally, right, give_back = Tally(f"damage: {kind.name}"), kind.read(), restored(kind)
        for how, number in cases(flips, cuts=flips // 10, start=seed):
            if not damage(kind.path, how, number, kind.other):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tally.reading(kind.read, right, f"{how} {number}", UserError)
            give_back()
        yield tally


class Marking:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def marking_files(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Files that would leave a mark if what is in them were run, at each place where a file is read; the same each time."""
    from orthotrace.analysis.cli import main as analyze
    from orthotrace.cli.train import main as train

    tally, mark = Tally("pickles and YAML that would leave a mark"), folder / "mark"
    called(train, f"hydra.run.dir={folder}/run", "method=gpm", *TINY)
    run, bad = folder / "run", Marking(mark)
    pickle.loads(pickle.dumps(bad))
    assert mark.exists(), "the mark marks nothing"
    mark.unlink()
    apply = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]"
    target = {"_target_": "pathlib.Path.touch", "self": str(mark)}

    def config(change: Callable[[Any], None]) -> bytes:
        found = OmegaConf.load(run / ".hydra" / "config.yaml")
        change(found)
        return OmegaConf.to_yaml(found).encode()

    def saved(content: Any) -> bytes:
        torch.save(content, folder / "x.pt")
        return (folder / "x.pt").read_bytes()

    def array() -> bytes:
        np.save(folder / "x.npy", np.array([bad], dtype=object), allow_pickle=True)
        return (folder / "x.npy").read_bytes()

    def analysis() -> str:
        return called(analyze, f"runs={run}", f"out={folder}/out", "formats=[png]")

    checkpoint = read_checkpoint(run / "checkpoints" / "task1.ckpt")
    content = {
        "checkpoints/task1.ckpt": [pickle.dumps(bad), saved(bad), saved({**checkpoint, "state_dict": bad})],
        "checkpoints/last.ckpt": [saved({**checkpoint, "callbacks": {"x": bad}}), saved([bad])],
        "scores.json": [pickle.dumps(bad), apply.encode()],
        ".hydra/overrides.yaml": [f"- {apply}\n".encode()],
        ".hydra/config.yaml": [
            f"model: {apply}\n".encode(),
            *(config(lambda one, key=key: OmegaConf.update(one, key, target, merge=False)) for key in ("model", "dataset", "model.hidden", "stream.tasks")),
            config(lambda one: OmegaConf.update(one, "model", f"${{oc.create:{{_target_: pathlib.Path.touch, self: '{mark}'}}}}")),
        ],
    }  # fmt: skip
    uses = (
        lambda: load(run, 1),
        lambda: Run(run).scores,
        analysis,
        lambda: called(train, f"hydra.run.dir={run}", "method=gpm", *TINY),
    )
    whole = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for name, files in content.items():
        for number, text in enumerate(files):
            for place, use in enumerate(uses):
                (run / name).write_bytes(text)
                # As of an older run, or of a stranger who wrote digests that fit.
                for digests in run.rglob(NAME):
                    digests.unlink()
                with warnings.catch_warnings(), contextlib.suppress(UserError, SystemExit, *FAILED):
                    warnings.simplefilter("ignore")
                    use()
                tally.count(
                    "wrong" if mark.exists() else "survived", f"{name} {number}, use {place}: the mark is there"
                )
                mark.unlink(missing_ok=True)
                for path, before in whole.items():
                    path.write_bytes(before)
    for read in (read_arrays, read_rdms):
        path = folder / "y.npy"
        path.write_bytes(array())
        tally.reading(lambda read=read, path=path: read(path), None, f"{read.__name__} of objects", UserError)
        if mark.exists():
            tally.count("wrong", "an array of objects was unpickled")
    shutil.rmtree(run)
    yield tally


def _failed() -> tuple[type[BaseException], ...]:
    import pytest

    return (pytest.fail.Exception,)


# What a command that ended with an error raises here.
FAILED = _failed()

__all__ = ["KINDS", "damaged_files", "marking_files"]
