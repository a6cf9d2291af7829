"""What is held of a model: a subspace for each weight matrix, tokens of embeddings, and the weights before a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError, nearest
from orthotrace.core.precision import full_precision
from orthotrace.linalg import in_blocks, leak_by_rows
from orthotrace.protection import checks
from orthotrace.protection.embedding import LAYERS as EMBEDDINGS
from orthotrace.protection.embedding import Seen
from orthotrace.protection.head import Head
from orthotrace.protection.layers import protectable, weight_matrices
from orthotrace.protection.matrices import Calls, WeightMatrix, transposed_name, where
from orthotrace.subspace.base import Subspace


class Held(nn.Module):
    """The subspaces of a model's weight matrices, the tokens that its embeddings have seen, and its output layer.

    Args:
        model, subspace, head, **options: as for Guard, see plain_loop.

    Raises:
        UserError: see Guard.

    Attributes:
        layers: the protected layers by name.
        parts: their matrices, one of each layer, or of each group of a convolution.
        labels: of the matrices.
        subspaces: of each matrix, by label.
        embeddings: tokens seen, by name of the layer.
        head: the output layer whose outputs belong to tasks, if there is one.

    Example:
        >>> from orthotrace.subspace import SvdSubspace
        >>> held = Held(nn.LSTM(3, 5), SvdSubspace, energy=0.9)
        >>> held.labels
        ['[ih_l0]', '[hh_l0]']
    """

    started: Tensor

    def __init__(
        self,
        model: nn.Module,
        subspace: Callable[..., Subspace] | Mapping[str, Callable[..., Subspace]],
        head: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(subspace, nn.Module):
            raise UserError(
                "give the class, such as Guard(model, SvdSubspace, energy=0.97), not an instance", "subspace"
            )
        checks.one_value_for_all(options)
        # In plain containers: model and layers are not part of the state.
        self._model = (model,)
        self.layers = protectable(model)
        heads = [name for name, layer in self.layers.items() if isinstance(layer, (nn.Linear, nn.Conv2d))]
        if head is not None and (not isinstance(head, str) or head not in heads):
            raise UserError(f"there is no Linear or Conv2d layer '{head}'; {nearest(str(head), heads)}", "head")
        self.head_name = head or ""
        self.head = None if head is None else Head(self.layers.pop(head))
        parts = [part for name, layer in self.layers.items() for part in weight_matrices(name, layer)]
        labels = [part.label for part in parts]
        self._makers = subspace if isinstance(subspace, Mapping) else dict.fromkeys(labels, subspace)
        self._options = options
        checks.one_for_each(self._makers, labels)
        self.parts: list[WeightMatrix] = []
        self.labels: list[str] = []
        self.subspaces: dict[str, Any] = {}
        self._spaces = nn.ModuleList()
        self._pairs: list[tuple[WeightMatrix, Any]] = []
        for part in parts:
            self._add(part, self._makers[part.label])
        # Of weights that are used from their other side too, the places of their matrices.
        self._transposed: list[int] = []
        embeddings = {name: layer for name, layer in self.layers.items() if isinstance(layer, EMBEDDINGS)}
        # An embedding has no subspace of its own: it is held as the others are, where they differ as the firmest.
        share = max((space.removes for space in self.subspaces.values()), default=1.0)
        if embeddings and not parts and not isinstance(subspace, Mapping):
            # Options are checked, and understood, by a subspace alone.
            share = subspace(next(iter(embeddings.values())).embedding_dim, **options).removes
        self.embeddings = {name: Seen(name, layer, share) for name, layer in embeddings.items()}
        self._seen = nn.ModuleList(self.embeddings.values())
        # Tasks that were started.
        device = next(iter(model.parameters())).device
        self.register_buffer("started", torch.zeros((), dtype=torch.int64, device=device))

    def _add(self, part: WeightMatrix, make: Callable[..., Subspace]) -> None:
        """Give a matrix its subspace, and remember its weight."""
        # Statistics and projections need float32 at least.
        dtype = torch.promote_types(part.parameter.dtype, torch.float32)
        checks.takes(make, part.features, {"dtype": dtype, **self._options})
        space = make(part.features, dtype=dtype, **self._options)
        self._spaces.append(space.named(f"{where(part.label)}: ").to(part.parameter.device))
        self.register_buffer(f"start_{len(self.parts)}", part.joined())
        self.parts.append(part)
        self.labels.append(part.label)
        self.subspaces[part.label] = space
        self._pairs.append((part, space))

    def _add_transposed(self, number: int) -> None:
        """Protect a weight from its other side too."""
        part = self.parts[number]
        self._transposed.append(number)
        # Which these are is part of the state: a guard that loads it has not seen the network at work.
        self.register_buffer("transposed", torch.tensor(self._transposed, device=part.parameter.device))
        self._add(part.transposed(), self._makers[part.label])

    def _find_transposed(self, inputs: Calls) -> None:
        """Protect the weights that a pass has used from their other side."""
        for number, part in enumerate(list(self.parts)):
            if transposed_name(part.name) in inputs and number not in self._transposed:
                self._add_transposed(number)

    def held_layers(self) -> dict[str, Any]:
        """The protected layers by name, with the output layer."""
        return self.layers if self.head is None else self.layers | {self.head_name: self.head.layer}

    def check_layers(self) -> None:
        """See whether the model has the layers that it had.

        Raises:
            UserError: it has not, or something in it can no longer be protected.
        """
        checks.same_layers(protectable(self._model[0]), self.held_layers())

    def start(self, number: int) -> Tensor:
        """A matrix at the task's start, by its place, with the biases as its last column if there are any."""
        return getattr(self, f"start_{number}")

    def update(self, label: str) -> Tensor:
        """What a matrix, with the biases as its last column, has moved since the task's start."""
        number = self.labels.index(label)
        return self.parts[number].joined() - self.start(number)

    @torch.no_grad()
    def put_starts(self) -> Callable[[], None]:
        """Put the weights of the task's start into the layers.

        Returns:
            A function that puts back what was there.
        """
        layers = self.held_layers().values()
        there = [(value, value.detach().clone()) for layer in layers for value in layer.parameters()]
        for number, part in enumerate(self.parts):
            start = self.start(number)
            part.put(start)
        for one in [*self.embeddings.values(), *([] if self.head is None else [self.head])]:
            one.put_start()

        @torch.no_grad()
        def undo() -> None:
            for value, was in there:
                value.copy_(was)

        return undo

    def leaks(self, labels: list[str] | None = None) -> dict[str, float]:
        """Of each matrix |dW M^T| / max(|dW|, |W|) since the task's start, the bias as the weight of a constant.

        M are the rows held now: before a task is remembered those of earlier tasks, afterwards its own too. Of an
        embedding the vectors of tokens seen, over all.

        Args:
            labels: of the matrices, and names of embeddings; None for all.
        """
        found = {}
        with full_precision(self.started.device.type):
            for label, part in zip(self.labels, self.parts, strict=True):
                if labels is None or label in labels:
                    found[label] = leak_by_rows(self._moved(label, part), self._held(label, part))
        for name, seen in self.embeddings.items():
            if labels is None or name in labels:
                found[name] = seen.leak()
        return found

    def exact_leaks(self) -> dict[str, float]:
        """The leaks of what must have none."""
        held = (self.subspaces | self.embeddings).items()
        return self.leaks([name for name, one in held if one.exact])

    def _moved(self, label: str, part: WeightMatrix) -> Iterator[tuple[Tensor, Tensor]]:
        """What a matrix has moved, and the matrix, some rows at a time."""
        start = self.start(self.labels.index(label))
        for rows in in_blocks(*start.shape):
            there = part.joined(rows)
            yield there - start[rows], there

    def memory_bytes(self, label: str) -> int:
        """What is kept for a matrix beside the network: its subspace, and its weights at the task's start."""
        if label in self.embeddings:
            return self.embeddings[label].memory_bytes()
        number = self.labels.index(label)
        kept = [self.start(number), *self._spaces[number].state_dict().values()]
        return sum(value.numel() * value.element_size() for value in kept)

    def _held(self, label: str, part: WeightMatrix) -> Tensor:
        """The rows held, with the constant's direction where there is a bias."""
        space = self.subspaces[label]
        basis = space.held()
        if part.bias is None:
            return basis
        constant = torch.ones(int(self._constant(space)), 1).to(basis)
        return torch.block_diag(basis, constant) if len(constant) else basis.new_zeros(0, basis.shape[1] + 1)

    def holds_constant(self, label: str) -> bool:
        """Whether the bias of a matrix stays as it was at the task's start."""
        return self._constant(self.subspaces[label])

    def _constant(self, space: Subspace) -> bool:
        """Whether the constant input of a bias is held."""
        # Of a layer that no earlier task has called, nothing is held.
        return space.active or (space.holds_constant and int(self.started) > 1 and int(space.tasks) > 0)

    def made(self) -> dict[str, str]:
        """What a state must fit, by layer; weights that are used from their other side too count once."""
        labels = self.labels[: len(self.labels) - len(self._transposed)]
        parts = dict(zip(self.labels, self.parts, strict=True))
        made = {
            where(label): f"a {type(self.subspaces[label]).__name__} of {tuple(parts[label].weight.shape)}"
            for label in labels
        }
        made |= {where(name): f"tokens of {tuple(seen.start.shape)}" for name, seen in self.embeddings.items()}
        if self.head is not None:
            made[where(self.head_name)] = f"a head of {tuple(self.head.start.shape)}"
        return made

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for number in state_dict.get(prefix + "transposed", torch.zeros(0)).tolist():
            if number not in self._transposed:
                self._add_transposed(number)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
