"""Break one line at a time and run the nearest test file: a test must fail.

    python scripts/mutations.py [--only WORD ...] [--list]

The checkout is not touched: lines are replaced in a copy of it. Each row says whether the tests killed the mutation.
Exits with 1 if one is alive, and at once where a text is not found exactly once or the tests fail without a mutation.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest
from broken_lines import MUTATIONS

ROOT = Path(__file__).resolve().parents[1]
# Of what Lightning imports pytest would rewrite the assertions, where it is a plugin.
IMPORTED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
KEPT = ("src", "analysis", "conf", "tests", "scripts", "docs", "pyproject.toml", "README.md", "constraints.txt")


def copied(folder: Path) -> None:
    """The files of the checkout that tests read; links stay links."""
    for name in KEPT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)


def run(folder: Path, *tests: str) -> tuple[int, str]:
    """Pytest's exit code and output in a child of this process, with the package imported from the folder."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.chdir(folder)
            os.environ["PYTHONPATH"] = str(folder / "src")
            sys.path.insert(0, str(folder / "src"))
            code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-W", IMPORTED, *tests])
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="WORD", help="mutations with one of these words in their name")
    parser.add_argument("--list", action="store_true", help="print the mutations and stop")
    options = parser.parse_args()
    chosen = [one for one in MUTATIONS if not options.only or any(word in one.name for word in options.only)]
    for one in chosen:
        if (times := (ROOT / one.file).read_text().count(one.old)) != 1:
            raise SystemExit(f"{one.file}: this text is there {times} times, not once:\n{one.old}")
    if options.list:
        print("\n".join(one.name for one in chosen))
        return
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    # Imported once, for all children; orthotrace itself is imported by each anew.
    importlib.import_module("pytorch_lightning")
    alive = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copied(folder)
        code, said = run(folder, *sorted({one.tests for one in chosen}))
        if code:
            raise SystemExit(f"the tests fail without any mutation ({code}):\n{said[-3000:]}")
        for one in chosen:
            file, start = folder / one.file, time.perf_counter()
            text = file.read_text()
            file.write_text(text.replace(one.old, one.new))
            code, said = run(folder, one.tests)
            file.write_text(text)
            if code not in (0, 1):
                raise SystemExit(f"{one.name}: no test ran:\n{said[-3000:]}")
            if not code:
                alive.append(one)
            print(f"{'killed' if code else 'ALIVE '} {time.perf_counter() - start:6.1f} s  {one.name}", flush=True)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} killed")
    raise SystemExit(bool(alive))


if __name__ == "__main__":
    main()
