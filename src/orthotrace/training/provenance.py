"""Where a run was made: the versions, the machine and the commits without which it cannot be repeated."""

import functools
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import orthotrace

# Packages whose version may change a number.
PACKAGES = ("torch", "pytorch_lightning", "numpy", "scipy", "scikit-learn", "hydra-core", "datasets")
# Seconds after which a large repository is taken as it is.
PATIENCE = 5


@functools.cache
def versions() -> dict[str, str]:
    """Package -> version."""
    found = {"orthotrace": orthotrace.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = torch.__version__ if name == "torch" else version(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
    return found


def machine(device: torch.device, devices: int = 1) -> dict[str, str | int]:
    """The machine on which a run is made.

    Args:
        device: on which the network is trained.
        devices: how many.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {**_host(), "device": name, "devices": devices}


@functools.cache
def _host() -> dict[str, str | int]:
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count() or 1}


def _processor() -> str:
    """The model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@functools.cache
def commits(folder: Path) -> dict[str, str | None]:
    """The commit of the repository that holds a folder, and that of orthotrace's own sources.

    None where there is no repository; "COMMIT with changes" where files of the folder's were changed since.

    Args:
        folder: from which the command was given.
    """
    here = commit_of(folder)
    if here is not None and _changed(folder):
        here += " with changes"
    return {"here": here, "orthotrace": commit_of(Path(orthotrace.__file__).resolve().parent)}


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in the repository that holds a folder; None where there is none."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.exists():
            try:
                return _head(git)
            except (OSError, UnicodeDecodeError):
                return None
    return None


def _head(git: Path) -> str | None:
    # Of a worktree or a submodule a file says where it is.
    if git.is_file():
        git = git.parent / git.read_text(encoding="utf-8").partition("gitdir:")[2].strip()
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head
    name = head.partition(":")[2].strip()
    shared = git / "commondir"
    common = git / shared.read_text(encoding="utf-8").strip() if shared.is_file() else git
    for place in (git, common):
        if (place / name).is_file():
            return (place / name).read_text(encoding="utf-8").strip()
    packed = common / "packed-refs"
    lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


def _changed(folder: Path) -> bool:
    """Whether files that the repository knows were changed since its commit, as far as git says in time."""
    git = shutil.which("git")
    if git is None:
        return False
    command = [git, "-C", str(folder), "status", "--porcelain", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
