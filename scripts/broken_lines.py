"""Lines that a test must guard: each as it is, and broken. See mutations.py."""

from typing import NamedTuple


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
        "loss=True, error=error), len(part))",
        "loss=True, error=error), 1)",
        "tests/training/test_learner.py",
    ),
    Mutation(
        "src/orthotrace/training/learner.py",
        "elif self._plateau is not None:",
        "elif False:",
        "tests/training/test_learner.py",
    ),
    Mutation(
        "src/orthotrace/methods/memory.py", "elif self.logits.shape[1]:", "elif False:", "tests/methods/test_replay.py"
    ),
    Mutation(
        "analysis/studies/similarities.py",
        "else [(x, y), (y, x)]",
        "else [(x, y)]",
        "tests/analysis/studies/test_similarities.py",
    ),
    Mutation("analysis/figures/accuracy.py", "row[: i + 1]", "row[: i + 2]", "tests/analysis/figures/test_accuracy.py"),
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
        "size = max(hypot(*moved), hypot(*sizes))",
        "size = hypot(*moved)",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/linalg.py", "return -vectors @ (inside *", "return vectors @ (inside *", "tests/test_linalg.py"
    ),
    Mutation(
        "src/orthotrace/linalg.py",
        "polar(rest_before @ rest_after.T)",
        "polar(rest_after @ rest_before.T)",
        "tests/test_linalg.py",
    ),
    Mutation(
        "src/orthotrace/results/scores.py",
        "rows[j - 1][j] - untrained[j]",
        "rows[j][j] - untrained[j]",
        "tests/results/test_scores.py",
    ),
    Mutation(
        "src/orthotrace/results/scores.py",
        "max(row[j] for row in rows[:-1] if math.isfinite(row[j]))",
        "rows[j][j]",
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
        "self.trace = turned @ trace",
        "self.trace = turned.T @ trace",
        "tests/subspace/test_hebbian.py",
    ),
    Mutation(
        "src/orthotrace/subspace/hebbian.py",
        "if self.steps and not float(energies[0]):",
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
    Mutation("src/orthotrace/methods/replay.py", "if against < 0:", "if against > 0:", "tests/methods/test_replay.py"),
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
        "total[name] += each.square_().sum(0)",
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
        "analysis/rdm/rounding.py",
        "_by_differences(found, patterns, rows[few], columns[few])",
        "pass",
        "tests/analysis/rdm/test_products.py",
    ),
    Mutation(
        "analysis/rdm/stored.py",
        "offset=self.offset + KIND.itemsize * start",
        "offset=self.offset",
        "tests/analysis/rdm/test_stored.py",
    ),
    Mutation("analysis/rdm/compare.py", "centre = (m + 1) / 2", "centre = m / 2", "tests/analysis/rdm/test_compare.py"),
    Mutation(
        "analysis/studies/consistency.py",
        "without = (off.sum() - 2 * off.sum(axis=1)) / ((n - 1) * (n - 2))",
        "without = (off.sum() - off.sum(axis=1)) / ((n - 1) * (n - 2))",
        "tests/analysis/studies/test_consistency.py",
    ),
    Mutation(
        "analysis/similarity/cka.py",
        "rows, mean = k.sum(0) / (n - 2), k.sum()",
        "rows, mean = k.sum(0) / (n - 1), k.sum()",
        "tests/analysis/similarity/test_similarity.py",
    ),
    # Types and ranges of keys, and what a key is refused for.
    Mutation(
        "src/orthotrace/config/schema.py", "if values.get(group) is None:", "if False:", "tests/config/test_schema.py"
    ),
    Mutation("src/orthotrace/config/schema.py", 'if "sets" not in node:', "if False:", "tests/config/test_schema.py"),
    Mutation(
        "src/orthotrace/config/schema.py",
        'if section.others or str(key).startswith("_"):',
        "if True:",
        "tests/config/test_schema.py",
    ),
    Mutation(
        "src/orthotrace/config/schema.py",
        "if key in section.set and key not in section.keys:",
        "if False:",
        "tests/config/test_schema.py",
    ),
    Mutation(
        "src/orthotrace/config/schema.py",
        "if one.default is NOTHING and key not in node:",
        "if False:",
        "tests/config/test_schema.py",
    ),
    Mutation(
        "src/orthotrace/config/schema.py",
        'given = (*given, "only")',
        "given = (*given,)",
        "tests/config/test_schema.py",
    ),
    Mutation(
        "src/orthotrace/config/schema.py",
        'given = (*given, "_args_")',
        "given = (*given,)",
        "tests/config/test_schema.py",
    ),
    Mutation("src/orthotrace/config/schema.py", "if kind not in kinds:", "if False:", "tests/config/test_schema.py"),
    Mutation("src/orthotrace/config/schema.py", "if not callable(found):", "if False:", "tests/config/test_schema.py"),
    Mutation("src/orthotrace/config/schema.py", "if path in READ:", "if False:", "tests/config/test_schema.py"),
    Mutation(
        "src/orthotrace/config/schema.py",
        "tuple(said.arguments)[:2]",
        "tuple(said.arguments)[:1]",
        "tests/config/test_schema.py",
    ),
    Mutation(
        "src/orthotrace/config/schema.py",
        "if isinstance(value, (str, int, float, bool)) and _is_mapping(known):",
        "if False:",
        "tests/config/test_schema.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "NotNegative = Annotated[float, Field(ge=0, le=FLOAT32)]",
        "NotNegative = Annotated[float, Field(le=FLOAT32)]",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "Share = Annotated[float, Field(ge=0, lt=1)]",
        "Share = Annotated[float, Field(ge=0, le=1)]",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "Positive = Annotated[int, Field(ge=1)]",
        "Positive = Annotated[int, Field(ge=0)]",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "| Annotated[int, Field(ge=1, le=1024)]",
        "| Annotated[int, Field(ge=0, le=1024)]",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        '"rates": Argument(dict[str, Annotated[float, Field(gt=0',
        '"rates": Argument(dict[str, Annotated[float, Field(ge=0',
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py", "Field(ge=1, lt=100)", "Field(ge=0, lt=100)", "tests/config/test_outside.py"
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "Field(gt=0, le=1)] | TIME",
        "Field(ge=0, le=1)] | TIME",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "Field(gt=0, le=1)] | None",
        "Field(ge=0, le=1)] | None",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        '"rho": Argument(Annotated[float, Field(ge=0, le=1)]',
        '"rho": Argument(Annotated[float, Field(ge=0, le=2)]',
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        'list[Literal["pdf", "svg", "png"]]',
        "list[str]",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        'Field(pattern=r"^\\d+:\\d{2}:\\d{2}:\\d{2}$")',
        "Field(min_length=1)",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/outside.py",
        "Annotated[float, Field(ge=0, le=1)] | None",
        "Annotated[float, Field(ge=0)] | None",
        "tests/config/test_outside.py",
    ),
    Mutation(
        "src/orthotrace/config/values.py",
        'elif value == MISSING and path != "concepts.layer":',
        "elif value == MISSING:",
        "tests/config/test_values.py",
    ),
    Mutation(
        "src/orthotrace/config/values.py", "            _check(key, path, finite)\n", "", "tests/config/test_values.py"
    ),
    Mutation(
        "src/orthotrace/config/values.py",
        'finite = finite and str(value.get("_target_", FINITE[0])).startswith(FINITE)',
        "finite = True",
        "tests/config/test_values.py",
    ),
    Mutation(
        "src/orthotrace/config/values.py", "abs(value) > FLOAT32", "abs(value) > 1e300", "tests/config/test_values.py"
    ),
    Mutation("src/orthotrace/config/values.py", "value < 2**63", "value <= 2**63", "tests/config/test_values.py"),
    Mutation("src/orthotrace/config/values.py", '"\\0" in value or ', "", "tests/config/test_values.py"),
    Mutation(
        "src/orthotrace/config/values.py",
        'if place in ("hydra", "concepts.layer")',
        'if place == "hydra"',
        "tests/config/test_values.py",
    ),
    Mutation("src/orthotrace/config/values.py", 'if key == "hydra":', "if False:", "tests/config/test_values.py"),
    # Signals, digests, locks and lines of errors, which nearest tests let pass.
    Mutation(
        "src/orthotrace/core/interrupt.py", "elif number == signal.SIGINT:", "else:", "tests/core/test_interrupt.py"
    ),
    Mutation(
        "src/orthotrace/core/interrupt.py",
        "            with suppress(OSError):\n                os.write(self.writer, bytes([number]))\n",
        "",
        "tests/core/test_interrupt.py",
    ),
    Mutation(
        "src/orthotrace/core/signals.py",
        "            signal.set_wakeup_fd(-1)\n        self.after()",
        "            pass\n        self.after()",
        "tests/core/test_interrupt.py",
    ),
    Mutation(
        "src/orthotrace/core/signals.py",
        "if self.noted:\n            self.blocked.before",
        "if False:\n            self.blocked.before",
        "tests/core/test_interrupt.py",
    ),
    Mutation(
        "src/orthotrace/core/interrupt.py",
        "if watch is None or watch.deferred:",
        "if watch is None:",
        "tests/core/test_interrupt.py",
    ),
    Mutation(
        "src/orthotrace/core/interrupt.py", "watch.heard = watch.ready = None", "pass", "tests/core/test_interrupt.py"
    ),
    Mutation(
        "src/orthotrace/core/digests.py",
        "fcntl.flock(handle, fcntl.LOCK_EX)",
        "fcntl.flock(handle, fcntl.LOCK_UN)",
        "tests/core/test_digests.py",
    ),
    Mutation("src/orthotrace/core/digests.py", " and path.name != NAME", "", "tests/core/test_digests.py"),
    Mutation(
        "src/orthotrace/core/folders.py",
        "    except OSError:\n        pass\n    return True",
        "    except OSError:\n        return False\n    return True",
        "tests/core/test_folders.py",
    ),
    Mutation(
        "src/orthotrace/core/folders.py",
        "(root, *(path for path in root.iterdir() if path.is_dir()))",
        "(root,)",
        "tests/core/test_folders.py",
    ),
    Mutation(
        "src/orthotrace/core/folders.py",
        "            if _same(lock, root / LOCK):\n                with",
        "            if True:\n                with",
        "tests/core/test_folders.py",
    ),
    Mutation(
        "src/orthotrace/core/folders.py",
        "        if _same(lock, root / LOCK):\n            own = ",
        "        if True:\n            own = ",
        "tests/core/test_folders.py",
    ),
    Mutation(
        "src/orthotrace/core/folders.py",
        "if found[0] != fcntl.F_UNLCK:",
        "if True:",
        "tests/core/test_folders.py",
    ),
    Mutation(
        "src/orthotrace/core/errors.py", "field.type = strict(hints[field.name])", "pass", "tests/core/test_errors.py"
    ),
    Mutation(
        "src/orthotrace/results/replaced.py",
        "_own(run) if any(_own(Run(aside))) or not run.generations else ()",
        "_own(run)",
        "tests/results/test_replaced.py",
    ),
]
