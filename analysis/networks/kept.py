"""RDMs that are kept as soon as they are made, so that an analysis that was stopped makes none of them again.

They are found by all that decides them: the checkpoint, the network, the stimuli, the measure, how layers are read, and
the code. A file holds the RDMs of one network, and of more layers each time that others are asked for.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

import orthotrace
from orthotrace.analysis.networks.given import GivenNetwork
from orthotrace.analysis.networks.places import LayerPlace, Read
from orthotrace.analysis.networks.storage import rows_of, save_stacks
from orthotrace.analysis.rdm import memory
from orthotrace.analysis.rdm.stored import StoredByName, some, together
from orthotrace.config.build import plain
from orthotrace.core.digests import DamagedFileError, digest_of, remove
from orthotrace.core.files import read, whole

if TYPE_CHECKING:
    from orthotrace.analysis.networks.runs import Stimuli
    from orthotrace.analysis.rdm.rdms import Measure

FOLDER = ".kept"
# Of all layers, where none are named.
EVERY = ""


@dataclass
class KeptNetwork:
    """What is known of a network.

    Attributes:
        rdms: layer -> RDM, of those that have one; in files where memory has a bound.
        centroids: likewise, of the means of classes.
        places: layer -> where it is read.
        left_out: layer, what, why, and how many stimuli; see left_out.LeftOut.
        asked: what was asked for -> the layers that it stands for.
    """

    rdms: MutableMapping[str, NDArray[np.float64]] = field(default_factory=dict)
    centroids: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    places: dict[str, LayerPlace] = field(default_factory=dict)
    left_out: list[tuple[str, str, str, int | None]] = field(default_factory=list)
    asked: dict[str, list[str]] = field(default_factory=dict)

    def of(self, layers: Sequence[str] | None) -> KeptNetwork | None:
        """What was asked for, in the order in which it was; None where some of it is not known.

        Example:
            >>> KeptNetwork(asked={"": ["a"]}).of(None).asked, KeptNetwork(asked={"": ["a"]}).of(["a"])
            ({'': ['a']}, None)
        """
        wanted = [EVERY] if layers is None else [str(layer) for layer in layers]
        if not all(one in self.asked for one in wanted):
            return None
        names = list(dict.fromkeys(name for one in wanted for name in self.asked[one]))
        return KeptNetwork(
            some(self.rdms, names),
            {name: self.centroids[name] for name in names if name in self.centroids},
            {name: self.places[name] for name in names if name in self.places},
            [one for one in self.left_out if one[0] in names],
            {one: self.asked[one] for one in wanted},
        )

    def joined(self, other: KeptNetwork) -> KeptNetwork:
        """Both; of a layer that both have, the other's."""
        again = {name for names in other.asked.values() for name in names}
        return KeptNetwork(
            StoredByName(self.rdms.files | other.rdms.files)
            if isinstance(self.rdms, StoredByName) and isinstance(other.rdms, StoredByName)
            else {**self.rdms, **other.rdms},
            self.centroids | other.centroids,
            self.places | other.places,
            [one for one in self.left_out if one[0] not in again] + other.left_out,
            self.asked | other.asked,
        )


class KeptRdms:
    """The RDMs of an analysis' networks on disk.

    Args:
        folder: of the analysis.
        stimuli: that the networks see.
        name: of the measure of dissimilarity.
        measure: itself.
        read: how layers are read.
    """

    def __init__(self, folder: Path, stimuli: Stimuli, name: str, measure: Measure, read: Read) -> None:
        self.folder = folder / FOLDER
        # That were not there before.
        self._made: set[Path] = set()
        order = [] if stimuli.order is None else stimuli.order.tolist()
        said = [stimuli.digest, stimuli.labels.tolist(), order, name, _source_of_measure(measure), read]
        self._common = json.dumps([said, code_digest(), torch.get_default_dtype().__str__()])

    def path(self, run: Any, task: int) -> Path | None:
        """Where the RDMs of a network are kept; None where nothing tells it apart from others."""
        identity = identity_of(run, task)
        if identity is None:
            return None
        key = hashlib.sha256(f"{self._common} {identity}".encode()).hexdigest()
        return self.folder / f"{key[:40]}.safetensors"

    def find(self, run: Any, task: int) -> KeptNetwork | None:
        """What is kept of a network; None where there is nothing, or what there is is damaged."""
        path = self.path(run, task)
        if path is None or not path.is_file():
            return None
        try:
            return read(path, _load)
        except DamagedFileError:
            # It is made again.
            return None

    def lacks(self, run: Any, task: int, layers: Sequence[str] | None) -> bool:
        """Whether a network can be kept, and some of what is asked for is not; its file is then to be made."""
        path, known = self.path(run, task), self.find(run, task)
        if path is None or (known is not None and known.of(layers) is not None):
            return False
        if not path.is_file():
            self._made.add(path)
        return True

    def forget(self) -> None:
        """Remove the files that were made here: a mistake in what was asked leaves nothing behind."""
        for path in self._made:
            remove(path)
        # Of others that are kept it stays.
        with suppress(OSError):
            self.folder.rmdir()

    def holding(self, run: Any, task: int, layers: Sequence[str]) -> Path | None:
        """The file that holds the RDMs of just these layers of a network, in this order."""
        path = self.path(run, task)
        return path if path is not None and path.is_file() and _about(path)["layers"] == list(layers) else None

    def keep(self, run: Any, task: int, found: KeptNetwork) -> None:
        """Keep what was found, beside what is known already.

        Raises:
            UserError: it cannot be written.
        """
        path = self.path(run, task)
        if path is None:
            return
        if not path.is_file():
            self._made.add(path)
        known = self.find(run, task)
        whole_network = found if known is None else known.joined(found)
        about = {
            "layers": list(whole_network.rdms),
            "centroid_layers": list(whole_network.centroids),
            "places": [[one.name, one.read, list(one.after), list(one.event)] for one in whole_network.places.values()],
            "left_out": whole_network.left_out,
            "asked": whole_network.asked,
        }
        arrays: dict[str, Any] = {
            name: together((rdms, layer) for layer in rdms)
            for name, rdms in (("dissimilarities", whole_network.rdms), ("centroids", whole_network.centroids))
            if rdms
        }
        with whole(path) as temporary:
            save_stacks(temporary, arrays, {"about": json.dumps(about)})


def identity_of(run: Any, task: int) -> str | None:
    """All that decides what a network computes after a task; None where that is not known."""
    if isinstance(run, GivenNetwork):
        stage = run.stages[task]
        digest = stage.digest
        return None if digest is None else json.dumps([digest, stage.layers])
    config = {key: plain(OmegaConf.select(run.config, key)) for key in ("model", "concepts")}
    return json.dumps([digest_of(run.checkpoint(task)), config], sort_keys=True, default=str)


@functools.cache
def code_digest() -> str:
    """A digest of orthotrace's own code and of torch's version: another one may compute something else."""
    top = Path(orthotrace.__file__).parent
    found = hashlib.sha256(torch.__version__.encode())
    # The folder of the analysis is a link where orthotrace is not installed.
    for folder in (top, top / "analysis"):
        for file in sorted(folder.rglob("*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()


def _source_of_measure(measure: Measure) -> str:
    try:
        file = inspect.getsourcefile(inspect.unwrap(measure))
    except TypeError:
        return ""
    return digest_of(Path(file)) if file and Path(file).is_file() else ""


def _about(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["about"])


def _load(path: Path) -> KeptNetwork:
    from safetensors import safe_open

    about = _about(path)
    files = rows_of(path, "dissimilarities") if memory.bounded() else None
    with safe_open(path, "np") as file:
        names = [name for name in file.keys() if files is None or name != "dissimilarities"]  # noqa: SIM118 -- no mapping
        stacks = {name: file.get_tensor(name) for name in names}
    places = [LayerPlace(name, how, tuple(after), tuple(event)) for name, how, after, event in about["places"]]
    return KeptNetwork(
        dict(zip(about["layers"], stacks.get("dissimilarities", ()), strict=True))
        if files is None
        else StoredByName(dict(zip(about["layers"], files, strict=True))),
        dict(zip(about["centroid_layers"], stacks.get("centroids", ()), strict=True)),
        {one.name: one for one in places},
        [tuple(one) for one in about["left_out"]],
        about["asked"],
    )
