"""The folder of configurations."""

from pathlib import Path


def conf_folder() -> Path:
    """The folder of configurations: shipped with the package, or the repository's."""
    package = Path(__file__).parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parents[1] / "conf"
