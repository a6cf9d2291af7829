"""RDMs on disk: safetensors, with a JSON sidecar that says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from orthotrace.files import read, read_json, whole, write_json


def write_rdms(path: Path, rdms: Mapping[str, NDArray[np.float64]], about: Mapping[str, Any]) -> None:
    """Write the RDMs of a network, one for each layer, and what they are of.

    Args:
        path: ending in .safetensors; the sidecar ends in .json.
        rdms: layer -> condensed vector.
        about: measure, stimuli, network.
    """
    with whole(path) as temporary:
        save_file({name: np.ascontiguousarray(values) for name, values in rdms.items()}, temporary)
    write_json(path.with_suffix(".json"), about)


def read_rdms(path: Path) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """Read what write_rdms wrote.

    Raises:
        UserError: a file is missing or damaged.
    """
    return read(path, load_file), read_json(path.with_suffix(".json"))
