"""Choices that do not go together, refused before anything is written."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from orthotrace.core.errors import UserError, one_line
from orthotrace.data.streams import Stream
from orthotrace.layers.nonlinearities import is_nonlinearity
from orthotrace.layers.normalisation import is_normalisation
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.settings import Components, Optimization, Training


def check(components: Components, optimization: Optimization, training: Training, precision: str) -> None:
    """Refuse choices that do not go together.

    Raises:
        UserError: names the first.
    """
    stream, method = components.stream, components.method
    _check_kind(stream, optimization, training)
    if precision in ("bf16-true", "16-true"):
        raise UserError(
            f"{precision} rounds small steps away, and what protects weights with them; use 32-true or bf16-mixed",
            "trainer.precision",
        )
    noise = {"stream.input_noise": stream.input_noise, "regularizer.input_noise": optimization.regularizer.input_noise}
    augments = optimization.augmentation is not None and optimization.augmentation.changes
    for key in [key for key, deviation in noise.items() if deviation] + (["augmentation"] if augments else []):
        if has_tokens(stream):
            raise UserError("changes brightness or places, and these inputs are tokens: take none", key)
    crop = 0 if optimization.augmentation is None else optimization.augmentation.crop
    if crop and crop >= min(stream.shape[1:]):
        raise UserError(f"a border of {crop} is too wide for {stream.shape[1:]}", "augmentation.crop")
    if stream.online and training.max_epochs != 1:
        raise UserError(
            f"an online stream is seen once: set trainer.max_epochs=1 (it is {training.max_epochs})", "stream.online"
        )
    if stream.online and method.looks_again:
        raise UserError("an online stream is seen once: there is no closing pass over it", "method.closing_pass")
    if method.epochs_needed > training.max_epochs:
        raise UserError(
            f"begins to learn in epoch {method.epochs_needed} of a task, which has {training.max_epochs}",
            "method.start_epoch",
        )
    schedule, regularizer = optimization.schedule, optimization.regularizer
    try:
        schedule.scheduler(torch.optim.SGD([torch.zeros(1)], lr=1.0), training.max_epochs, 1)
    except UserError as error:
        raise error.below("scheduler") from error
    if schedule.tests_rates:
        _check_range_test(stream, regularizer)
    if regularizer.bootstrap is not None and not method.cross_entropy:
        raise UserError(
            "mixes the targets of a cross-entropy over the outputs, and this method has another loss: leave it out",
            "regularizer.bootstrap",
        )
    validated = {
        "regularizer.early_stopping": regularizer.early_stopping is not None,
        "regularizer.restore_best": regularizer.restore_best,
        "scheduler": schedule.monitor is not None,
    }
    for key, wanted in validated.items():
        if wanted and not stream.fewest_validation:
            raise UserError(
                "is decided on the validation part, which is empty: set stream.validation above 0, or higher", key
            )


def _check_range_test(stream: Stream, regularizer: Regularizer) -> None:
    """Refuse what a test that is meant to diverge would leave in ruins, or that would end it early."""
    if stream.tasks > 1:
        raise UserError(
            "a range test is of one task, after which nothing is learned: set stream.tasks=1, or take stream=single",
            "scheduler",
        )
    for key, plain in (("average", None), ("early_stopping", None), ("restore_best", False)):
        if getattr(regularizer, key) != plain:
            unset = "null" if plain is None else "false"
            raise UserError(f"makes no sense of a range test, whose loss is to rise: set {unset}", f"regularizer.{key}")


def _check_kind(stream: Stream, optimization: Optimization, training: Training) -> None:
    """Refuse a loss of classes for targets, or of targets for classes, and what only classes have."""
    if not stream.regression:
        if training.loss not in (None, "cross_entropy"):
            raise UserError(
                f"{training.loss} is for the targets of a regression, and this data set has class labels: take "
                "cross_entropy, or give it train_targets and test_targets (dataset=arrays)",
                "trainer.loss",
            )
        return
    if training.loss == "cross_entropy":
        raise UserError("is for classes, and this data set has targets: take mse, l1 or huber", "trainer.loss")
    if optimization.regularizer.label_smoothing:
        raise UserError("spreads labels over classes, and a regression has none: set 0", "regularizer.label_smoothing")
    if optimization.regularizer.bootstrap is not None:
        raise UserError("is for labels of classes, and a regression has none: leave it out", "regularizer.bootstrap")
    decides = optimization.regularizer.early_stopping is not None or optimization.regularizer.restore_best
    monitors = {
        "regularizer.monitor": optimization.regularizer.monitor if decides else None,
        "scheduler.monitor": optimization.schedule.monitor,
    }
    for key, wanted in monitors.items():
        if wanted == "accuracy":
            raise UserError("a regression has no accuracy: set loss", key)
    for index in range(stream.distinct if not stream.trials else 0):
        targets = stream.test(index).labels
        flat = (targets == targets[:1]).all(0).nonzero().flatten().tolist()
        if flat:
            raise UserError(
                f"'{stream.names[index][flat[0]]}' is the same for all test images of task {index + 1}, so that no "
                "R^2 can be told of it: give test images that differ in it",
                "dataset",
            )


def has_tokens(stream: Stream) -> bool:
    """Whether a stream's inputs are whole numbers that mean no brightness."""
    store = stream.test(0).store
    return not store.is_floating_point() and store.dtype != torch.uint8


def check_network(model: nn.Module, stream: Stream) -> None:
    """Give a network two images.

    Raises:
        UserError: it cannot take them, or has not as many outputs as the stream has classes.
    """
    training = model.training
    model.eval()
    like = next(model.parameters(), torch.zeros(()))
    images = stream.test(0).inputs(torch.arange(2), like)
    hint = ""
    if has_tokens(stream):
        # The largest one must have its place in the network.
        largest = max(int(part.store.max()) for part in (stream.images(0, "train"), stream.images(0, "test")))
        images.flatten()[0] = largest
        hint = f"; its tokens are 0 to {largest}: give it {largest + 1}, as model.vocabulary of a recurrent one"
    try:
        with torch.no_grad():
            logits = model(images)
    # A model of the user's own may raise anything.
    except Exception as error:
        raise UserError(f"fails on images of the shape {stream.shape}: {one_line(error)}{hint}", "model") from error
    model.train(training)
    expected = (2, len(stream.classes), *stream.test(0).labels.shape[2:])
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        what = "target" if stream.regression else "class"
        steps = ", at each step: take model=leaky_rnn" if stream.trials else ""
        raise UserError(
            f"gives {got} for two images, where {expected} is needed: an output for each {what}{steps}", "model"
        )


def warn_of_statistics(model: nn.Module, dropout: float) -> None:
    """Tell of the first normalisation layer whose running statistics do not fit the network in evaluation.

    Dropout keeps the mean of activations and raises their variance, so what is collected behind it, in training, is
    not that of the network without it (Li et al., Understanding the disharmony between dropout and batch normalization
    by variance shift, CVPR 2019).

    Args:
        model: its modules are taken to work in the order in which it has them.
        dropout: of the regularizer, behind every nonlinearity.
    """
    drops = False
    for name, module in model.named_modules():
        if drops and is_normalisation(module) and list(module.buffers(recurse=False)):
            warnings.warn(
                f"layer '{name}': its running statistics are of activations with dropout, which vary more than without "
                "it; accuracy in evaluation may be far below that of training: take less dropout before it, or "
                "statistics of each batch (track_running_stats=False; model.statistics=batch of alexnet)",
                stacklevel=2,
            )
            return
        drops |= isinstance(module, _DropoutNd) and module.p > 0
        drops |= dropout > 0 and is_nonlinearity(module)


@contextmanager
def decomposing(task: int) -> Iterator[None]:
    """Within the block, in which a task is trained (from 0), a matrix that has no decomposition is the user's to mend.

    Raises:
        UserError: torch found no decomposition, as of values that are not finite.

    Example:
        >>> with decomposing(0):
        ...     _ = torch.linalg.svd(torch.full((2, 2), torch.nan))
        Traceback (most recent call last):
            ...
        orthotrace.core.errors.UserError: optimizer: a matrix cannot be decomposed in task 1 (linalg.svd: ...
    """
    try:
        yield
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]  # documented there
        reason = one_line(error).rstrip(".")
        raise UserError(
            f"a matrix cannot be decomposed in task {task + 1} ({reason}): lower the learning rate, or strengths and "
            "noise",
            "optimizer",
        ) from error
