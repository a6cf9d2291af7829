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


def lines(file: str, tests: str, *pairs: tuple[str, str]) -> list[Mutation]:
    """Several of one file that one test file must notice: each text, and what takes its place."""
    return [Mutation(file, old, new, tests) for old, new in pairs]


MUTATIONS = [
    # What the audit of the tests found alive.
    Mutation(
        "src/orthotrace/protection/guard.py",
        "if whole and not space.exact:",
        "if False:",
        "tests/protection/test_guard.py",
    ),
    *lines(
        "src/orthotrace/training/learner.py",
        "tests/training/test_learner.py",
        ("return loss if batch.weight == 1 else loss * batch.weight", "return loss"),
        ("loss=True, error=error), len(part))", "loss=True, error=error), 1)"),
        ("elif self._plateau is not None:", "elif False:"),
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
    *lines(
        "src/orthotrace/linalg.py",
        "tests/test_linalg.py",
        ("return rows - (rows @ basis.T) @ basis", "return rows + (rows @ basis.T) @ basis"),
        ("for _ in range(1 if against is None else 2):", "for _ in range(1):"),
        ("size = max(hypot(*moved), hypot(*sizes))", "size = hypot(*moved)"),
        ("return -vectors @ (inside *", "return vectors @ (inside *"),
        ("polar(rest_before @ rest_after.T)", "polar(rest_after @ rest_before.T)"),
    ),
    *lines(
        "src/orthotrace/results/scores.py",
        "tests/results/test_scores.py",
        ("rows[j - 1][j] - untrained[j]", "rows[j][j] - untrained[j]"),
        ("max(row[j] for row in rows[:-1] if math.isfinite(row[j]))", "rows[j][j]"),
        ('if row["task"] > task + 1]', 'if row["task"] > task]'),
    ),
    *lines(
        "src/orthotrace/subspace/hebbian.py",
        "tests/subspace/test_hebbian.py",
        ("self.trace = turned @ trace", "self.trace = turned.T @ trace"),
        ("if self.steps and not float(energies[0]):", "if False:"),
    ),
    *lines(
        "src/orthotrace/subspace/base.py",
        "tests/subspace/test_base.py",
        (
            "self.rows[min(int(self.tasks), len(self.rows) - 1)]",
            "self.rows[min(int(self.tasks) + 1, len(self.rows) - 1)]",
        ),
        ("return update - self.inside(update)", "return self.inside(update)"),
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
    *lines(
        "src/orthotrace/config/schema.py",
        "tests/config/test_schema.py",
        ("if values.get(group) is None:", "if False:"),
        ('if "sets" not in node:', "if False:"),
        ('if section.others or str(key).startswith("_"):', "if True:"),
        ("if key in section.set and key not in section.keys:", "if False:"),
        ("if one.default is NOTHING and key not in node:", "if False:"),
        ('given = (*given, "only")', "given = (*given,)"),
        ('given = (*given, "_args_")', "given = (*given,)"),
        ("if kind not in kinds:", "if False:"),
        ("if not callable(found):", "if False:"),
        ("if path in READ:", "if False:"),
        ("tuple(said.arguments)[:2]", "tuple(said.arguments)[:1]"),
        ("if isinstance(value, (str, int, float, bool)) and _is_mapping(known):", "if False:"),
    ),
    *lines(
        "src/orthotrace/config/outside.py",
        "tests/config/test_outside.py",
        (
            "NotNegative = Annotated[float, Field(ge=0, le=FLOAT32)]",
            "NotNegative = Annotated[float, Field(le=FLOAT32)]",
        ),
        ("Share = Annotated[float, Field(ge=0, lt=1)]", "Share = Annotated[float, Field(ge=0, le=1)]"),
        ("Positive = Annotated[int, Field(ge=1)]", "Positive = Annotated[int, Field(ge=0)]"),
        ("| Annotated[int, Field(ge=1, le=1024)]", "| Annotated[int, Field(ge=0, le=1024)]"),
        (
            '"rates": Argument(dict[str, Annotated[float, Field(gt=0',
            '"rates": Argument(dict[str, Annotated[float, Field(ge=0',
        ),
        ("Field(ge=1, lt=100)", "Field(ge=0, lt=100)"),
        ("Field(gt=0, le=1)] | TIME", "Field(ge=0, le=1)] | TIME"),
        ("Field(gt=0, le=1)] | None", "Field(ge=0, le=1)] | None"),
        ('"rho": Argument(Annotated[float, Field(ge=0, le=1)]', '"rho": Argument(Annotated[float, Field(ge=0, le=2)]'),
        ('list[Literal["pdf", "svg", "png"]]', "list[str]"),
        ('Field(pattern=r"^\\d+:\\d{2}:\\d{2}:\\d{2}$")', "Field(min_length=1)"),
        ("Annotated[float, Field(ge=0, le=1)] | None", "Annotated[float, Field(ge=0)] | None"),
    ),
    *lines(
        "src/orthotrace/config/values.py",
        "tests/config/test_values.py",
        ('elif value == MISSING and path != "concepts.layer":', "elif value == MISSING:"),
        ("            _check(key, path, finite)\n", ""),
        ('finite = finite and str(value.get("_target_", FINITE[0])).startswith(FINITE)', "finite = True"),
        ("abs(value) > FLOAT32", "abs(value) > 1e300"),
        ("value < 2**63", "value <= 2**63"),
        ('"\\0" in value or ', ""),
        ('if place in ("hydra", "concepts.layer")', 'if place == "hydra"'),
        ('if key == "hydra":', "if False:"),
    ),
    # Signals, digests, locks and lines of errors, which nearest tests let pass.
    *lines(
        "src/orthotrace/core/interrupt.py",
        "tests/core/test_interrupt.py",
        ("elif number == signal.SIGINT:", "else:"),
        ("            with suppress(OSError):\n                os.write(self.writer, bytes([number]))\n", ""),
    ),
    *lines(
        "src/orthotrace/core/signals.py",
        "tests/core/test_interrupt.py",
        ("            signal.set_wakeup_fd(-1)\n        self.after()", "            pass\n        self.after()"),
        ("if self.noted:\n            self.blocked.before", "if False:\n            self.blocked.before"),
    ),
    *lines(
        "src/orthotrace/core/interrupt.py",
        "tests/core/test_interrupt.py",
        ("if watch is None or watch.deferred:", "if watch is None:"),
        ("watch.heard = watch.ready = None", "pass"),
    ),
    *lines(
        "src/orthotrace/core/digests.py",
        "tests/core/test_digests.py",
        ("fcntl.flock(handle, fcntl.LOCK_EX)", "fcntl.flock(handle, fcntl.LOCK_UN)"),
        (" and path.name != NAME", ""),
    ),
    *lines(
        "src/orthotrace/core/folders.py",
        "tests/core/test_folders.py",
        (
            "    except OSError:\n        pass\n    return True",
            "    except OSError:\n        return False\n    return True",
        ),
        ("(root, *(path for path in root.iterdir() if path.is_dir()))", "(root,)"),
        (
            "            if _same(lock, root / LOCK):\n                with",
            "            if True:\n                with",
        ),
        ("        if _same(lock, root / LOCK):\n            own = ", "        if True:\n            own = "),
        ("if found[0] != fcntl.F_UNLCK:", "if True:"),
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
    *lines(
        "src/orthotrace/protection/projected_inputs.py",
        "tests/protection/test_projected_inputs.py",
        ("if due or not float(", "if not float("),
        ("<= self.most:", "<= 1e9:"),
        ("if saved._version != version:", "if False:"),
        ("prepend=True, always_call=True", "prepend=True"),
        ("prepend=True, always_call=True", "always_call=True"),
        ("if self._open:", "if False:"),
        ("        if layer is self.layer:\n            call", "        if True:\n            call"),
        ("and inputs.dtype == self.weight.dtype", ""),
        ("self.layer.weight is not self.weight or", ""),
    ),
    *lines(
        "src/orthotrace/protection/guard.py",
        "tests/protection/test_projected_inputs_of_tasks.py",
        ("number not in self._transposed and is_worth_it", "is_worth_it"),
        ("            one.settle()", "            pass"),
    ),
    *lines(
        "src/orthotrace/training/chunks.py",
        "tests/training/test_chunks.py",
        ("and self.clip is None", ""),
        ('and not any(group["weight_decay"] for group in groups)', ""),
    ),
    Mutation(
        "src/orthotrace/training/learner.py",
        "not compiled and self.regularizer.is_linear",
        "True",
        "tests/training/test_chunks.py",
    ),
    *lines(
        "src/orthotrace/training/best.py",
        "tests/training/test_best.py",
        ("if found < float(self.score):", "if found <= float(self.score):"),
        ('score if self.monitor == "loss" else -score', "score"),
        (", *self._extra())", ")"),
        ("value.clone())", "value)"),
        ("self._buffers.pop(name)", "self._buffers[name]"),
        ('if self.score < float("inf"):', "if True:"),
        ('        self.score.fill_(float("inf"))', "        pass"),
        ("            del self._buffers[name]", "            pass"),
        ("dtype=torch.float64", "dtype=torch.float32"),
    ),
    *lines(
        "src/orthotrace/training/learner.py",
        "tests/training/test_best.py",
        ("            self.best.put_back()", "            pass"),
        (
            "if self.best is not None:\n            # W",
            "if self.best and not self.trainer.should_stop:\n            # W",
        ),
        ("*method.task_parameters(context), ", ""),
        (", *method.task_counts(context)", ""),
        ("self.method.validated(self.model, self.context)", "self.model"),
        (
            "            with self.evaluated():\n                self.best",
            "            with nullcontext():\n                self.best",
        ),
    ),
    *lines(
        "src/orthotrace/methods/eblora.py",
        "tests/methods/test_adapters.py",
        ("factors.up.copy_(polar(factors.up.T).T)", "pass"),
        ("polar(space.project(factors.down))", "polar(factors.down)"),
    ),
    Mutation(
        "src/orthotrace/training/experiment.py",
        "with decomposing(self.progress.task):",
        "with nullcontext():",
        "tests/training/test_checks.py",
    ),
    *lines(
        "src/orthotrace/protection/attention.py",
        "tests/protection/test_attention.py",
        ("attn_mask=call.mask,", "attn_mask=None,"),
        ("        layer.bias_k,\n", "        None,\n"),
    ),
    *lines(
        "src/orthotrace/protection/recurrent.py",
        "tests/protection/test_recurrent.py",
        ('options["nonlinearity"] = layer.nonlinearity', "pass"),
        ("width = layer.proj_size or layer.hidden_size", "width = layer.hidden_size"),
        ("(call.cell, layer.hidden_size)", "(call.cell, width)"),
    ),
    *lines(
        "src/orthotrace/protection/embedding.py",
        "tests/protection/test_embedding.py",
        ("kept = 1 - self.share * self.seen", "kept = 1 - 1.0 * self.seen"),
        ("values[self.seen] *= 1 - self.share", "values[self.seen] *= 0"),
    ),
    *lines(
        "src/orthotrace/protection/guard.py",
        "tests/protection/test_embedding.py",
        ("if seen.exact or not whole:", "if True:"),
    ),
    *lines(
        "src/orthotrace/protection/guard.py",
        "tests/protection/test_plain_loop.py",
        (
            "with full_precision(self.shown.device.type):\n            for part, space in self._pairs:\n"
            "                free",
            "if True:\n            for part, space in self._pairs:\n                free",
        ),
    ),
    *lines(
        "src/orthotrace/protection/plain_loop.py",
        "tests/protection/test_plain_loop_next_task.py",
        ("checks.own_outputs(self.head_name, self.outputs, self._used, self._trained)", "pass"),
    ),
    *lines(
        "src/orthotrace/methods/hat.py",
        "tests/methods/test_hat.py",
        ("used.copy_(torch.maximum(used, masks[number]))", "used.copy_(masks[number])"),
        ("value.clamp_(-LARGEST, LARGEST)", "pass"),
        ("self.batches.zero_()", "pass"),
    ),
    Mutation(
        "analysis/inference/groups.py",
        "max(ROUNDING * float(sizes.max()), digits)",
        "ROUNDING * float(sizes.max())",
        "tests/analysis/inference/test_groups.py",
    ),
    # Found by breaking lines drawn at random.
    *lines(
        "src/orthotrace/methods/ewc.py",
        "tests/methods/test_ewc.py",
        ("importance.mul_(self.decay).add_(values)", "pass"),
    ),
    *lines(
        "src/orthotrace/methods/trgp.py",
        "tests/methods/test_trgp.py",
        ("space.region(task).T).norm()) / size", "space.region(task).T).norm()) * size"),
    ),
    *lines(
        "src/orthotrace/methods/task_weights.py",
        "tests/methods/test_measured.py",
        ("        model.eval()\n", ""),
    ),
    *lines(
        "src/orthotrace/methods/eblora.py",
        "tests/methods/test_adapters.py",
        ("len(up), dtype=torch.float64, generator=draw)", "len(up), dtype=torch.float64)"),
    ),
    *lines(
        "src/orthotrace/subspace/recursive.py",
        "tests/subspace/test_recursive.py",
        ("inverse.copy_((inverse + inverse.T) / 2)", "pass"),
    ),
    *lines(
        "analysis/rdm/rounding.py",
        "tests/analysis/rdm/test_rounding.py",
        (
            "return (self.x[rows].double() / self.size[rows] - self.shift[rows]) / self.length[rows]",
            "return (self.x[rows].double() / self.size[rows] + self.shift[rows]) / self.length[rows]",
        ),
        ("_by_differences(found, patterns, at + rows.start, beside + columns.start)", "pass"),
    ),
    *lines(
        "analysis/rdm/whitened.py",
        "tests/analysis/rdm/test_whitened.py",
        ("unit * math.sqrt(size), 2", "unit / math.sqrt(size), 2"),
    ),
    *lines(
        "analysis/inference/permuted.py",
        "tests/analysis/inference/test_significance.py",
        ("            yield math.inf\n", "            yield -math.inf\n"),
    ),
]
