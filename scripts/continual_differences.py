"""What scripts/continual_differences.sh needs beside the commands: the choice of EWC's strength, and the results.

python scripts/continual_differences.py strength  the strength with the best validation accuracy
python scripts/continual_differences.py results   numbers as JSON, and figures
"""

from __future__ import annotations

import argparse

from orthotrace.results.groups import groups
from orthotrace.results.run_folder import find


def strength() -> str:
    """The strength of EWC with the best mean accuracy on validation images after the last task."""
    found = {
        float(run.config.method.strength): groups([run])[0].values("val_acc")[0]
        for run in find("runs/continual_differences_search")
    }
    return f"{max(found, key=found.__getitem__):g}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["strength", "results"])
    if parser.parse_args().what == "strength":
        print(strength())


if __name__ == "__main__":
    main()
