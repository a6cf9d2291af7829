"""The folder of configurations."""

from pathlib import Path

# Folders of conf/ that are no groups of options: files for W&B's sweeps.
NO_GROUPS = ("sweep",)


def conf_folder() -> Path:
    """The folder of configurations: shipped with the package, or the repository's."""
    package = Path(__file__).parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parents[1] / "conf"


def group_folders() -> list[Path]:
    """The folders of the groups of options, in alphabetical order."""
    return sorted(path for path in conf_folder().iterdir() if path.is_dir() and path.name not in NO_GROUPS)
