"""RDMs on disk: safetensors with a JSON sidecar, or HDF5 as rsatoolbox writes and reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.stored import StoredRdm, StoredStack
from orthotrace.core.digests import DamagedFileError, digest_of, recorded
from orthotrace.core.errors import UserError, one_line
from orthotrace.core.files import check_schema, link, read, read_json, whole, write_json

HDF5 = (".h5", ".hdf5")
COPY = "put a good copy in its place"
# Measures of rsatoolbox by our names; its squared distances are divided by the number of features.
THEIRS = {"squared euclidean": "squared_euclidean", "squared mahalanobis": "mahalanobis"}
DESCRIPTORS = ("descriptors", "rdm_descriptors", "pattern_descriptors")


def save_stacks(
    path: Path, stacks: Mapping[str, NDArray[np.float64] | StoredStack], about: dict[str, str] | None = None
) -> None:
    """Write a .safetensors file, to the bytes that safetensors writes, of RDMs in files part by part."""
    header: dict[str, Any] = {} if about is None else {"__metadata__": about}
    at = 0
    for name, one in sorted(stacks.items()):
        header[name] = {"dtype": "F64", "shape": list(one.shape), "data_offsets": [at, at + 8 * one.size]}
        at += 8 * one.size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Numbers begin at a multiple of their size.
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, one in sorted(stacks.items()):
            for part in one.parts() if isinstance(one, StoredStack) else (one,):
                part.astype("<f8", copy=False).tofile(file)


def rows_of(path: Path, name: str) -> list[StoredRdm]:
    """Where the rows of an array of a .safetensors file are; none where it has no such array."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    if name not in header:
        return []
    number, entries = header[name]["shape"]
    begin = 8 + length + header[name]["data_offsets"][0]
    return [StoredRdm(path, begin + 8 * entries * row, entries) for row in range(number)]


def write_rdms(path: Path | str, rdms: RDMs, kept: Path | None = None) -> None:
    """Write RDMs and their descriptors.

    Args:
        path: ending in .safetensors, beside which a .json says what the RDMs are of; or in .h5 or .hdf5, which
            rsatoolbox reads. It reads lists of text in ASCII alone: of others .safetensors is for.
        rdms: descriptors of the whole must be what JSON or HDF5 holds.
        kept: a .safetensors file that has these dissimilarities already, and is given a second name.

    Raises:
        UserError: another suffix, a descriptor that cannot be kept (nothing is written then), or a file that cannot be
            written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "one.safetensors"
        >>> write_rdms(file, RDMs.of({"fc1": np.eye(4)}, pattern_descriptors={"kind": list("aabb")}))
        >>> read_rdms(file).rdm_descriptors["name"].tolist()
        ['fc1']
    """
    path = Path(path)
    if path.suffix in HDF5:
        with whole(path) as temporary:
            _write_hdf5(temporary, rdms, path)
        return
    if path.suffix != ".safetensors":
        raise UserError(f"{path} ends in none of .safetensors, .h5 and .hdf5")
    write_stack(path, rdms.dissimilarities, rdms.measure, {name: getattr(rdms, name) for name in DESCRIPTORS}, kept)


def write_stack(
    path: Path,
    stack: NDArray[np.float64] | StoredStack,
    measure: str | None,
    descriptors: Mapping[str, Mapping[str, Any]],
    kept: Path | None = None,
) -> None:
    """As write_rdms, .safetensors alone: RDMs that may be in files, and their descriptors by DESCRIPTORS."""
    about: dict[str, Any] = {"schema": 1, "measure": measure, "order": "upper triangles, row by row"}
    for which in DESCRIPTORS:
        about[which] = {}
        for name, value in descriptors[which].items():
            about[which][name] = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
            try:
                json.dumps(about[which][name], allow_nan=False)
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}: {which}['{name}'] cannot be kept in JSON: {one_line(error)}") from error
    if kept is not None:
        link(kept, path)
    else:
        with whole(path) as temporary:
            save_stacks(temporary, {"dissimilarities": stack})
    # Two files are replaced one after the other: by this a reader knows that they belong together.
    about["sha256"] = max(recorded(path)) if len(recorded(path)) == 1 else digest_of(path)
    write_json(path.with_suffix(".json"), about)


def read_rdms(path: Path | str) -> RDMs:
    """Read what write_rdms or rsatoolbox wrote.

    Raises:
        UserError: a file that is missing or damaged, that holds no RDMs, or whose sidecar is of another one; names it.
    """
    path = Path(path)
    if path.suffix in HDF5:
        found = content = read(path, _read_hdf5, COPY)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        found = read(path, load_file, COPY)
        content = read_json(path.with_suffix(".json"), COPY)
        digest = digest_of(path)
        # Those of older versions do not say.
        check_schema(content, path.with_suffix(".json"))
        if content.get("sha256", digest) != digest:
            raise DamagedFileError(
                f"{path} is not the file that {path.with_suffix('.json').name} beside it describes: put a good copy of "
                "both in their place, or write both again"
            )
    else:
        raise UserError(f"{path} ends in none of .safetensors, .h5 and .hdf5")
    if "dissimilarities" not in found:
        raise UserError(f"{path} holds no RDMs: it has {', '.join(sorted(found)) or 'nothing'}")
    described = {name: content.get(name) or {} for name in DESCRIPTORS}
    if wrong := next((name for name, of in described.items() if not isinstance(of, dict)), None):
        raise UserError(f"{path}: {wrong} is no mapping")
    try:
        return RDMs(found["dissimilarities"], content.get("measure"), **described)
    except (UserError, ValueError, TypeError) as error:
        raise UserError(f"{path}: {one_line(error)}") from error


def _write_hdf5(file_path: Path, rdms: RDMs, path: Path) -> None:
    """Into one file, of which errors speak by the path that it will have."""
    import h5py

    with h5py.File(file_path, "w") as file:
        file["dissimilarities"] = rdms.dissimilarities
        if rdms.measure is None:
            file["dissimilarity_measure"] = h5py.Empty("f")
        else:
            file.attrs["dissimilarity_measure"] = rdms.measure
        # Theirs, for readers that ask.
        file.attrs["rsatoolbox_version"] = "0.3.2"
        for name in DESCRIPTORS:
            group = file.create_group(name)
            for key, value in getattr(rdms, name).items():
                if "/" in key:
                    raise UserError(f"{path}: {name}['{key}'] cannot be kept in HDF5: a slash is a path there")
                try:
                    if isinstance(value, str):
                        group.attrs[key] = value
                    elif value is None:
                        group[key] = h5py.Empty("f")
                    else:
                        values = np.asarray(value)
                        if values.dtype.kind == "U":
                            # HDF5 has no arrays of numpy's characters.
                            values = np.char.encode(_ascii(values, f"{path}: {name}['{key}']"), "ascii")
                        group[key] = values
                except (TypeError, ValueError) as error:
                    raise UserError(f"{path}: {name}['{key}'] cannot be kept in HDF5: {one_line(error)}") from error


def _ascii(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Text, refused where rsatoolbox could not read it."""
    for one in values.ravel().tolist():
        if not one.isascii():
            raise UserError(
                f"{where} has '{one}': rsatoolbox reads text in ASCII alone from HDF5; rename it, or write .safetensors"
            )
    return values


def _read_hdf5(path: Path) -> dict[str, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        content = _content(file)
    if (named := content.get("dissimilarity_measure")) is not None:
        content["measure"] = THEIRS.get(named, named)
    return content


def _content(group: Any) -> dict[str, Any]:
    """Groups as dictionaries, arrays of bytes as text, what is empty as None."""
    import h5py

    found: dict[str, Any] = {key: str(value) if isinstance(value, str) else value for key, value in group.attrs.items()}
    for key, value in group.items():
        if isinstance(value, h5py.Group):
            found[key] = _content(value)
        elif value.shape is None:
            found[key] = None
        else:
            # Text of variable length is read as objects unless asstr is used.
            values = np.asarray(value.asstr("utf-8")[()] if value.dtype.kind == "O" else value[()])
            values = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
            values = values.astype(str) if values.dtype.kind == "O" else values
            found[key] = values if values.ndim else values.item()
    return found


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file: .safetensors, .npy, or the measurements or dissimilarities of rsatoolbox's HDF5.

    Raises:
        UserError: a file that is missing, damaged, empty, of another kind, or that only pickle could read.
    """
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        found: Mapping[str, NDArray[Any]] = read(path, load_file, COPY)
    elif path.suffix == ".npy":
        # Objects would be code.
        found = {path.stem: read(path, lambda file: np.load(file, allow_pickle=False), COPY)}
    elif path.suffix in HDF5:

        def arrays(file: Path) -> dict[str, NDArray[Any]]:
            import h5py

            names = {"measurements": path.stem, "dissimilarities": "dissimilarities"}
            with h5py.File(file, "r") as opened:
                # Data sets: the stubs take them for groups.
                return {name: opened[key][()] for key, name in names.items() if key in opened}  # type: ignore[index]

        found = read(path, arrays, COPY)
    else:
        raise UserError(f"{path} ends in none of .safetensors, .npy, .h5 and .hdf5")
    if not found:
        raise UserError(f"{path} holds no arrays")
    return dict(found)
