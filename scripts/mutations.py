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
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("src", "analysis", "conf", "tests", "scripts", "docs", "pyproject.toml", "README.md", "constraints.txt")


class Mutation(NamedTuple):
    """A text of a file, what takes its place, and the test file that must notice."""

    file: str
    old: str
    new: str
    tests: str

    @property
    def name(self) -> str:
        """File and line as a row shows them."""
        return f"{self.file}: {' '.join(self.old.split())} -> {' '.join(self.new.split()) or 'nothing'}"


MUTATIONS = [
    # What the audit of the tests found alive.
    Mutation(
        "src/orthotrace/protection/guard.py",
        "if whole and not space.exact:",
        "if False:",
        "tests/protection/test_guard.py",
    ),
    Mutation(
        "src/orthotrace/training/learner.py",
        "return loss if batch.weight == 1 else loss * batch.weight",
        "return loss",
        "tests/training/test_learner.py",
    ),
    Mutation(
        "src/orthotrace/training/learner.py",
        "loss=True), len(part))",
        "loss=True), 1)",
        "tests/training/test_learner.py",
    ),
    Mutation(
        "src/orthotrace/training/learner.py",
        "elif self._plateau is not None:",
        "elif False:",
        "tests/training/test_learner.py",
    ),
    Mutation(
        "src/orthotrace/methods/memory.py",
        "elif self.logits.shape[1]:",
        "elif False:",
        "tests/methods/test_replay.py",
    ),
    Mutation(
        "analysis/studies/similarities.py",
        "else [(x, y), (y, x)]",
        "else [(x, y)]",
        "tests/analysis/studies/test_similarities.py",
    ),
    Mutation(
        "analysis/figures/accuracy.py",
        "row[: i + 1]",
        "row[: i + 2]",
        "tests/analysis/figures/test_accuracy.py",
    ),
    # Signs, transposes, tasks that are one off, missing guards.
    Mutation(
        "src/orthotrace/linalg.py",
        "return rows - (rows @ basis.T) @ basis",
        "return rows + (rows @ basis.T) @ basis",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/linalg.py",
        "for _ in range(1 if against is None else 2):",
        "for _ in range(1):",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/linalg.py",
        "size = max(float(update.double().norm()), float(weight.double().norm()))",
        "size = float(update.double().norm())",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/linalg.py",
        "return -vectors @ (inside *",
        "return vectors @ (inside *",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/linalg.py",
        "polar(rest_before @ rest_after.T)",
        "polar(rest_after @ rest_before.T)",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/results/scores.py",
        "accuracy[j - 1][j] - untrained[j]",
        "accuracy[j][j] - untrained[j]",
        "tests/results/test_scores.py",
    ),
    Mutation(
        "src/orthotrace/results/scores.py",
        "max(accuracy[i][j] for i in before)",
        "accuracy[j][j]",
        "tests/results/test_scores.py",
    ),
    Mutation(
        "src/orthotrace/results/scores.py",
        'if row["task"] > task + 1]',
        'if row["task"] > task]',
        "tests/results/test_scores.py",
    ),
    Mutation(
        "src/orthotrace/subspace/hebbian.py",
        "self.trace = turned @ self.trace",
        "self.trace = turned.T @ self.trace",
        "tests/subspace/test_hebbian.py",
    ),
    Mutation(
        "src/orthotrace/subspace/hebbian.py",
        "if int(self.steps) and not float(self.energies[0]):",
        "if False:",
        "tests/subspace/test_hebbian.py",
    ),
    Mutation(
        "src/orthotrace/subspace/base.py",
        "self.rows[min(int(self.tasks), len(self.rows) - 1)]",
        "self.rows[min(int(self.tasks) + 1, len(self.rows) - 1)]",
        "tests/subspace/test_base.py",
    ),
    Mutation(
        "src/orthotrace/subspace/base.py",
        "return update - self.inside(update)",
        "return self.inside(update)",
        "tests/subspace/test_base.py",
    ),
    Mutation(
        "src/orthotrace/methods/replay.py",
        "if against < 0:",
        "if against > 0:",
        "tests/methods/test_replay.py",
    ),
    Mutation(
        "src/orthotrace/methods/memory.py",
        "extra = self.loss(network, len(batch.labels), context) if context.number else None",
        "extra = self.loss(network, len(batch.labels), context)",
        "tests/methods/test_replay.py",
    ),
    Mutation(
        "src/orthotrace/methods/si.py",
        "((parameter - start).square() + self.damping)",
        "((parameter - start).abs() + self.damping)",
        "tests/methods/test_si.py",
    ),
    Mutation(
        "src/orthotrace/methods/ewc.py",
        "total[name] += each.square().sum(0)",
        "total[name] += each.sum(0).square()",
        "tests/methods/test_ewc.py",
    ),
    Mutation(
        "analysis/rdm/correlate.py",
        "left = squares - sums**2 / m if centre else squares",
        "left = squares - sums**2 / (m - 1) if centre else squares",
        "tests/analysis/rdm/test_correlate.py",
    ),
    Mutation(
        "analysis/rdm/compare.py",
        "centre = (m + 1) / 2",
        "centre = m / 2",
        "tests/analysis/rdm/test_compare.py",
    ),
    Mutation(
        "analysis/studies/consistency.py",
        "without = (off.sum() - 2 * off.sum(axis=1)) / ((n - 1) * (n - 2))",
        "without = (off.sum() - off.sum(axis=1)) / ((n - 1) * (n - 2))",
        "tests/analysis/studies/test_consistency.py",
    ),
    Mutation(
        "analysis/similarity/cka.py",
        "2 / (n - 2) * (rows @ others)",
        "1 / (n - 2) * (rows @ others)",
        "tests/analysis/similarity/test_similarity.py",
    ),
]


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
            code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests])
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
