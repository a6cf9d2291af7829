"""Concept axes in a trained network, without a training step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError, nearest
from orthotrace.layers.concept_whitening import ConceptWhitening
from orthotrace.layers.modes import evaluated
from orthotrace.layers.replace import leave_fast_paths, named_once

# Images at once, where they are given as one tensor.
AT_ONCE = 512
# The network's answers may differ by so much of their largest.
TOLERANCE = 1e-3
# Layers whose channels come last.
LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)


def fit(
    model: nn.Module,
    layer: str,
    concepts: Mapping[str, Tensor],
    images: Tensor | Iterable[Tensor],
    head: str | None = None,
    masks: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> ConceptWhitening:
    """Lay concepts along axes of a layer's output, and leave what the network computes as it is.

    The output x of the layer becomes z = R W (x - mu), with mu and W of all images and R turned to the concepts.
    Without a head, x = (R W)^-1 z + mu follows at once: the layer becomes Sequential(layer, concept whitening, Undo).
    With a head, a linear layer that x reaches linearly (flattened, or averaged over places), its weight V becomes
    V (R W)^-1 for each place and its bias grows by sum of V mu over the places: the network itself then reads concepts.
    Statistics stay frozen, in training too.

    Args:
        model: any torch model, whose answer is a tensor; changed in place.
        layer: name of a module, as in named_modules, called once in a forward pass; its output has channels.
        concepts: name -> images of it, (n, ...), as the model takes them.
        images: what is whitened: (n, ...), or batches of them, from a list or a loader; of an iterator, to be had but
            once, the answers to the first batch alone are checked. More of them times places than channels.
        head: name of a linear layer of channels x places, or of channels, inputs; None: undone at once.
        masks: concept -> weights of the places of the layer's output, (n, places...), see reduced.
        **options: of ConceptWhitening; channel_dim is -1 for linear layers and LayerNorm, else 1; memory 0, steps 100.

    Returns:
        The layer that was put in, whose name is "<layer>.1".

    Raises:
        UserError: no such layer; a head that is not linear, or whose size does not fit; no images; a concept without
            images; values that are not finite; more concepts than channels; answers that change by more than 1e-3 of
            the largest. The model is then as it was.

    Source: post-hoc use of Chen, Bei & Rudin, Concept whitening for interpretable image recognition, 2020.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
        >>> x = torch.randn(200, 4)
        >>> before = model(x)
        >>> found = fit(model, "0", {"bright": x[x.mean(1) > 0.5]}, x)
        >>> torch.allclose(model(x), before, atol=1e-4), model.get_submodule("0.1") is found
        (True, True)
    """
    module = _module(model, layer, "layer")
    named_once(model, layer)
    linear = None if head is None else _module(model, head, "head")
    if linear is not None and not isinstance(linear, nn.Linear):
        raise UserError(f"'{head}' ({type(linear).__name__}) is not a linear layer", "head")
    for name, shown in concepts.items():
        if not len(shown):
            raise UserError(f"no images of the concept '{name}'", "concepts")
    training = module.training
    options = {"channel_dim": -1 if isinstance(module, LAST) else 1, "memory": 0.0, "steps": 100, **options}
    with evaluated(model), torch.no_grad():
        moments = _Moments(layer, options["channel_dim"])
        first = _each_output(model, module, layer, images, moments.take)
        new = _layer(layer, module, concepts, moments, options)
        seen = {name: _outputs(model, module, layer, shown) for name, shown in concepts.items()}
        new.align(seen, masks)
        new.warn_of_neighbours(seen, masks)
        # What is not linear may begin with images beyond the first ones: all are asked, if they can be had again.
        again = [first] if isinstance(images, Iterator) else _batches(images)
        put, restore = _put(model, layer, new, linear)
        try:
            error = _change(model, put, restore, again)
        except BaseException:
            restore()
            raise
    if not error <= TOLERANCE:
        restore()
        advice = (
            "its statistics are too ill-conditioned to be undone; raise eps"
            if head is None
            else f"its output does not reach '{head}' linearly; take head=None"
        )
        raise UserError(f"layer '{layer}': the network's answers would change by {error:.1%}: {advice}", "head")
    for put in (model.get_submodule(layer), *list(model.get_submodule(layer).children())[1:]):
        put.training = training
    return new


class Undo(nn.Module):
    """What a whitening layer in evaluation was given, from what it gave: A^-1 (z - b).

    Args:
        layer: with frozen statistics.

    Example:
        >>> layer, x = ConceptWhitening(3, ["red"]).eval(), torch.ones(2, 3)
        >>> torch.allclose(Undo(layer)(layer(x)), x)
        True
    """

    def __init__(self, layer: ConceptWhitening) -> None:
        super().__init__()
        # In a tuple, so that the layer's statistics are not saved twice.
        self._of = (layer,)

    def forward(self, outputs: Tensor) -> Tensor:
        """The inputs of the layer."""
        return self._of[0].inverse(outputs)


class _Moments:
    """Mean and covariance of channels, over batches, in float64."""

    def __init__(self, layer: str, channel_dim: int) -> None:
        self.layer = layer
        self.channel_dim = channel_dim
        self.count = 0
        self.batches = 0

    def take(self, outputs: Tensor) -> None:
        columns = outputs.movedim(self.channel_dim, 0).flatten(1).double()
        if not self.count:
            # Far from zero, sums of squares would lose the digits of the variance.
            self.shift = columns.mean(1, keepdim=True)
            self.total = torch.zeros_like(self.shift)
            self.square = columns.new_zeros(len(columns), len(columns))
        columns = columns - self.shift
        self.total += columns.sum(1, keepdim=True)
        self.square.addmm_(columns, columns.T)
        self.count += columns.shape[1]
        self.batches += 1

    def give(self, layer: ConceptWhitening) -> None:
        """Make them the running statistics of a layer."""
        mean = self.total / self.count
        covariance = (self.square - self.count * mean @ mean.T) / (self.count - 1)
        layer.mean.copy_((self.shift + mean)[:, 0])
        layer.covariance.copy_(covariance[None])
        layer.samples.fill_(float(self.count))
        layer.batches.fill_(self.batches)


def _module(model: nn.Module, name: str, key: str) -> nn.Module:
    modules = dict(model.named_modules())
    if not name or name not in modules:
        raise UserError(f"there is no layer '{name}'; {nearest(name, filter(None, modules))}", key)
    return modules[name]


def _layer(
    layer: str, module: nn.Module, concepts: Mapping[str, Tensor], moments: _Moments, options: Mapping[str, Any]
) -> ConceptWhitening:
    """Concept whitening with these statistics, its axes not turned yet."""
    if moments.count < 2:
        raise UserError(f"layer '{layer}': no images to whiten, or a single one", "images")
    if not bool(moments.square.isfinite().all()):
        raise UserError(f"layer '{layer}': its output is not finite for some of the images", "images")
    try:
        new = ConceptWhitening(len(moments.shift), list(concepts), **options)
    except UserError as error:
        raise UserError(f"layer '{layer}': {error.message}", error.key) from error
    # Of the type of what it whitens, but in the digits that whitening needs.
    parameter = next(module.parameters(), torch.zeros((), device=moments.shift.device))
    new.to(moments.shift.device, torch.promote_types(parameter.dtype, torch.float32))
    moments.give(new)
    new.label = f"layer '{layer}': "
    new.frozen = True
    return new.eval()


def _each_output(
    model: nn.Module, module: nn.Module, layer: str, images: Tensor | Iterable[Tensor], take: Callable[[Tensor], None]
) -> Tensor:
    """Give each batch's output of a module to a function; the first batch of images is returned."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal calls
        calls += 1
        if not isinstance(output, Tensor) or output.ndim < 2:
            raise UserError(f"layer '{layer}' does not give one tensor of (n, channels, ...)", "layer")
        take(output)

    first, batches = torch.zeros(0), 0
    handle = module.register_forward_hook(hook)
    try:
        for batch in _batches(images):
            if not len(batch):
                continue
            first = first if batches else batch
            batches += 1
            model(batch)
            if calls != batches:
                raise UserError(f"layer '{layer}' is called {calls - batches + 1} times in a forward pass", "layer")
    finally:
        handle.remove()
    return first


def _batches(images: Tensor | Iterable[Tensor]) -> Iterable[Tensor]:
    return images.split(AT_ONCE) if isinstance(images, Tensor) else images


def _outputs(model: nn.Module, module: nn.Module, layer: str, images: Tensor) -> Tensor:
    """A module's output for these images; a copy, since what follows may work in place."""
    found: list[Tensor] = []
    _each_output(model, module, layer, images, lambda output: found.append(output.clone()))
    return torch.cat(found)


def _change(model: nn.Module, put: Callable[[], None], restore: Callable[[], None], images: Iterable[Tensor]) -> float:
    """Largest change of a model's answers, in shares of the largest answer; what changes them is put at the end."""
    sizes, errors = [], []
    for batch in images:
        if len(batch):
            restore()
            answer = _answer(model, batch)
            put()
            sizes.append(answer.abs().amax())
            errors.append((_answer(model, batch) - answer).abs().amax())
    # Of a NaN anywhere the largest is NaN, which is no small change.
    return float(torch.stack(errors).amax() / torch.stack(sizes).amax().clamp_min(1e-30))


def _answer(model: nn.Module, images: Tensor) -> Tensor:
    answer = model(images)
    if not isinstance(answer, Tensor):
        raise UserError(f"the model gives {type(answer).__name__}, not a tensor: wrap it", "model")
    return answer.double()


def _put(
    model: nn.Module, layer: str, new: ConceptWhitening, head: nn.Linear | None
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Put a layer behind the one of this name, undone at once or in the head: what does so again, what puts it back."""
    parent, _, last = layer.rpartition(".")
    around, module = model.get_submodule(parent), model.get_submodule(layer)
    inside = nn.Sequential(module, new) if head is not None else nn.Sequential(module, new, Undo(new))
    inside.eval()
    states = [None if head is None else _affine(head)]
    if head is not None:
        _compensate(head, new)
        states.append(_affine(head))
    backs: list[Callable[[], None]] = []

    def put() -> None:
        setattr(around, last, inside)
        backs.append(leave_fast_paths(model, inside))
        _set_affine(head, states[-1])

    def restore() -> None:
        setattr(around, last, module)
        while backs:
            backs.pop()()
        _set_affine(head, states[0])

    put()
    return put, restore


def _affine(head: nn.Linear) -> tuple[Tensor, nn.Parameter | None, Tensor | None]:
    """Its weight, its bias, and the values of that."""
    return head.weight.clone(), head.bias, None if head.bias is None else head.bias.clone()


@torch.no_grad()
def _set_affine(head: nn.Linear | None, state: tuple[Tensor, nn.Parameter | None, Tensor | None] | None) -> None:
    if head is None or state is None:
        return
    weight, bias, values = state
    head.weight.copy_(weight)
    head.register_parameter("bias", bias)
    if bias is not None and values is not None:
        bias.copy_(values)


def _compensate(head: nn.Linear, new: ConceptWhitening) -> None:
    """Let a linear layer read what the concept layer gives as it read its input."""
    places, rest = divmod(head.in_features, new.channels)
    if rest:
        raise UserError(
            f"the head has {head.in_features} inputs, which are no multiple of {new.channels} channels", "head"
        )
    matrix, offset = (value.double() for value in new.affine())
    back = torch.linalg.inv(matrix)
    # Flattened maps have their channels first, flattened tokens last.
    dim = 1 if new.channel_dim == 1 else 2
    shape = (new.channels, places) if dim == 1 else (places, new.channels)
    weight = head.weight.double().unflatten(1, shape).movedim(dim, 2) @ back
    head.weight.copy_(weight.movedim(2, dim).flatten(1))
    change = -(weight @ offset).sum(1)
    if head.bias is None:
        head.bias = nn.Parameter(change.to(head.weight.dtype))
    else:
        head.bias.copy_(head.bias.double() + change)
