"""Continual learning with orthogonal projections, readable layers, and RSA across random seeds."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthotrace.run import load

__all__ = ["load"]
__version__ = version("orthotrace")


def __getattr__(name: str) -> Any:
    # The command line answers --help and mistakes before anything heavy is imported.
    if name == "load":
        from orthotrace.run import load

        return load
    raise AttributeError(f"module 'orthotrace' has no attribute {name!r}")


def _conf() -> Path:
    """The folder of configurations: shipped with the package, or the repository's."""
    shipped = Path(__file__).parent / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "conf"
