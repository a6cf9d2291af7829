"""Names of runs, each of one run."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path


def names_of(folders: Iterable[Path]) -> dict[Path, str]:
    """A name for each run: that of its folder; where several have it, with the folders in which they differ.

    Args:
        folders: of runs.

    Returns:
        No two are the same, and each can be the name of a file.

    Example:
        >>> list(names_of([Path("pilot/seed=0"), Path("main/seed=0"), Path("main/seed=1")]).values())
        ['pilot_seed=0', 'main_seed=0', 'seed=1']
    """
    alike: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in dict.fromkeys(folders):
        alike[folder.name].append(folder)
    found = {}
    for name, some in alike.items():
        shared = os.path.commonpath([folder.absolute() for folder in some])
        for folder in some:
            parts = folder.absolute().relative_to(shared).parts if some[1:] else (name,)
            found[folder] = "_".join(parts) or name
    # A folder may be called what is put together here.
    while len(set(found.values())) < len(found):
        times = Counter(found.values())
        for place, folder in enumerate(sorted(found), start=1):
            if times[found[folder]] > 1:
                found[folder] = f"{found[folder]}_{place}"
    return found
