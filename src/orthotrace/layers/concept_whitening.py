"""Concept whitening: a whitened layer turned so that its first axes are named concepts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import geotorch
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from orthotrace.core.errors import UserError, checked, nearest, refuse_unknown
from orthotrace.layers.axes import Axes
from orthotrace.layers.concept_images import ConceptInputs, SeenConcepts
from orthotrace.layers.reductions import Reduction, reduced
from orthotrace.layers.whitening import Whitening
from orthotrace.linalg import orthonormalise, polar, polished, project_out, rotated

# Updates after which rounding is taken from the rotation.
POLISH = 50
# An update is done when no entry of a row moves by more.
SETTLED = 1e-5
# Concepts whose mean features are nearer than this, in cosine, cannot both have an axis of their own.
COLLINEAR = 0.9
# Weight of axes that no image chose, beside those that some did.
IDLE = 1e-6
# Share of a direction outside the held axes below which it has none of its own.
HIDDEN = 1e-4


class ConceptWhitening(Whitening):
    """Whitening followed by a rotation that lays concepts along the first axes: z = R W (x - mu).

    R maximises sum_j mean over the images of concept j of a(r_j z), with a the ``reduction`` of the map of an axis and
    R R^T = I. The mean is linear in R: its maximum is polar(M), M the mean features of the concepts (Procrustes). The
    others are convex: R <- polar(gradient at R) never lowers the objective (majorise and project), started from the
    solution of the mean. A concept with several axes counts by the axis that answers most to each image. The rest of R
    follows by the smallest rotation.

    Args:
        channels: d.
        concepts: names, no more axes than channels; "animal/dog" lies inside "animal", see Axes.
        sizes: axes of a concept that has several.
        reduction: a, see reductions.
        memory: weight of what earlier updates saw of a concept, in [0, 1).
        steps: of majorise and project in an update, where the mean does not do with one.
        rotation: "aligned" by updates, or "trained": a geotorch parametrisation on SO(d), whose gradient is that of the
            loss and of the objective.
        **options: as for Whitening, but groups: an axis goes over all channels.

    Raises:
        UserError: more axes than channels, or a value out of its range; in ``align``, a concept that does not exist,
            has no images, or whose activations are not finite.

    Attributes:
        axes: which belong to which concept.

    Source: Chen, Bei & Rudin, Concept whitening for interpretable image recognition, Nature Machine Intelligence 2020,
    eq. 2 to 4; Journee et al., Generalized power method, JMLR 2010, for the steps.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> layer = ConceptWhitening(8, ["striped"], reduction="mean")
        >>> x = torch.randn(200, 8, generator=draws)
        >>> _ = layer(x)
        >>> layer.align({"striped": x[x[:, 3] > 1]}) > 1
        True
        >>> int(layer.eval().affine()[0][0].abs().argmax())
        3
    """

    rotation: Tensor
    directions: Tensor
    weight_seen: Tensor
    held: Tensor
    updates: Tensor
    remedy = "larger batches, in fit more images"

    @checked
    def __init__(
        self,
        channels: Annotated[int, Field(ge=1)],
        concepts: Sequence[str],
        sizes: Mapping[str, Annotated[int, Field(ge=1)]] | None = None,
        reduction: Reduction = "pool_max",
        memory: Annotated[float, Field(ge=0, lt=1)] = 0.95,
        steps: Annotated[int, Field(ge=1)] = 4,
        rotation: Literal["aligned", "trained"] = "aligned",
        **options: Any,
    ) -> None:
        if "groups" in options:
            raise UserError("an axis goes over all channels: concept whitening has no groups", "groups")
        super().__init__(channels, **options)
        self.axes = Axes.laid_out(concepts, sizes)
        if len(self.axes) > channels:
            raise UserError(f"{len(self.axes)} axes for concepts, but only {channels} channels", "concepts")
        self.reduction: Reduction = reduction
        self.memory = memory
        self.steps = steps
        self.trained = rotation == "trained"
        if self.trained:
            self.rotation = nn.Parameter(torch.eye(channels))
            geotorch.orthogonal(self, "rotation", triv="cayley")
            self.rotation = torch.eye(channels)
        else:
            self.register_buffer("rotation", torch.eye(channels))
        count = len(self.axes)
        # Mean gradient of the objective in the rows of the axes, in whitened channels, and how much of it there is.
        self.register_buffer("directions", torch.zeros(count, channels))
        self.register_buffer("weight_seen", torch.zeros(count))
        self.register_buffer("held", torch.zeros(count, dtype=torch.bool))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._near: set[tuple[str, str]] = set()
        self._hidden: set[str] = set()

    def extra_repr(self) -> str:
        """What print shows."""
        return f"{super().extra_repr()}, concepts={', '.join(self.axes.names)}, reduction={self.reduction}"

    def unaveraged(self) -> list[Tensor]:
        """Those of Whitening, and what is aligned: the mean of rotations is no rotation."""
        aligned = [] if self.trained else [self.rotation]
        return [*super().unaveraged(), *aligned, self.directions, self.weight_seen]

    def _used(self) -> list[Tensor]:
        return [*super()._used(), self.rotation]

    def _turned(self, matrix: Tensor) -> Tensor:
        return self.rotation.to(matrix.dtype) @ matrix

    def activations(self, outputs: Tensor, masks: Tensor | None = None) -> Tensor:
        """How active each axis of a concept is, (n, axes), of the layer's outputs.

        Example:
            >>> ConceptWhitening(4, ["red", "green"]).activations(torch.ones(5, 4, 2, 2)).shape
            torch.Size([5, 2])
        """
        if outputs.ndim < 2 or outputs.shape[self.channel_dim] != self.channels:
            raise UserError(
                f"{self.label}outputs of its {self.channels} channels are needed (got the shape {tuple(outputs.shape)})"
            )
        maps = outputs.movedim(self.channel_dim, 1)[:, : len(self.axes)]
        return reduced(maps, self.reduction, masks)

    def concept_activations(self, outputs: Tensor, masks: Tensor | None = None) -> Tensor:
        """How active each concept is, (n, concepts): by the axis of its subspace that answers most."""
        found = self.activations(outputs, masks)
        return torch.stack([found[:, list(self.axes.of[name])].amax(1) for name in self.axes.names], dim=1)

    @torch.no_grad()
    def freeze_axes(self) -> None:
        """Hold the axes that have been aligned: later updates move only the free ones."""
        self.held |= self.weight_seen > 0

    def unseen(self, concepts: Sequence[str]) -> list[str]:
        """Of these concepts those that no update has laid an axis for, though one might.

        Example:
            >>> ConceptWhitening(4, ["red", "green"]).unseen(["green"])
            ['green']
        """
        seen = self.weight_seen > 0
        return [
            name for name in concepts if name not in self._hidden and not bool(seen[list(self.axes.of[name])].any())
        ]

    def align(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> float:
        """Turn the axes towards what these images of the concepts answer, by the running statistics.

        Args:
            inputs: concept -> inputs of the layer, as forward takes them; concepts left out stay as they are known.
            masks: concept -> weights of the places, as for reduced.

        Returns:
            The objective after it: the sum over these concepts of their mean activation.

        Raises:
            UserError: see the class; the rotation is trained, or a guard holds the layer.
        """
        if self.trained:
            raise UserError(f"{self.label}its rotation is trained: take concept_loss instead of align")
        if self.guarded:
            raise UserError(f"{self.label}a guard holds it since the first task: turned axes would change old answers")
        with torch.autocast(self.mean.device.type, enabled=False), torch.no_grad():
            images = self._images(inputs, masks or {})
            self._update(images)
            return float(images.objective(self.rotation[: len(self.axes)]))

    def concept_loss(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> Tensor:
        """Minus the objective of what align takes, differentiable in a trained rotation."""
        with torch.autocast(self.mean.device.type, enabled=False):
            return -self._images(inputs, masks or {}).objective(self.rotation[: len(self.axes)])

    def _images(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> SeenConcepts:
        """The images of concepts, seen through the running statistics."""
        concepts = []
        for name in masks:
            if name not in inputs:
                raise UserError(f"{self.label}masks of '{name}', but no images; {nearest(name, inputs)}")
        refuse_unknown(inputs, self.axes.names, f"{self.label}there is no concept")
        for name, values in inputs.items():
            if not len(values):
                raise UserError(f"{self.label}no images of the concept '{name}'")
            values = self._precise(values.detach()).movedim(self.channel_dim, 1)
            means = reduced(values, "mean", masks.get(name))
            if not math.isfinite(float(means.sum())):
                raise UserError(f"{self.label}activations of the concept '{name}' are not finite")
            places = self.axes.of[name]
            concepts.append(ConceptInputs(slice(places[0], places[-1] + 1), values, masks.get(name), means))
        dtype = concepts[0].values.dtype if concepts else self.mean.dtype
        return SeenConcepts(concepts, self.mean.to(dtype), self._running_root()[0].to(dtype), self.reduction)

    def _update(self, images: SeenConcepts) -> None:
        count = len(self.axes)
        seen = torch.zeros(count, dtype=torch.bool, device=self.held.device)
        for one in images.concepts:
            seen[one.axes] = True
        before = self.weight_seen > 0
        rows = self.rotation[:count].clone()
        first = seen & (self.directions.abs().amax(1) == 0) & ~self.held
        # Of one axis for each concept, the gradient of the mean is the same for all rows.
        axes = sum(one.axes.stop - one.axes.start for one in images.concepts)
        linear = self.reduction == "mean" and len(images.concepts) == axes == int(seen.sum())
        means = self._means(images) if linear or bool(first.any()) else None
        if means is not None and not linear:
            # A concept that is new begins where the mean would put it.
            rows[first] = means[first]
            rows, _ = self._nearest(rows, before | first)
        share = torch.where(before, 1 - self.memory, 1.0).to(self.directions.dtype)[:, None]
        # Until an image chooses a new axis it stays where it began.
        kept = torch.where(first[:, None], IDLE * rows, self.directions)
        directions, moved, placed = kept, seen, seen
        for _ in range(1 if linear else self.steps):
            gradient = means if linear and means is not None else images.slope(rows)[1].to(rows.dtype)
            # An axis that no image chose keeps what it knew, and gives way to the others.
            moved = seen & (gradient.abs().amax(1) > 0)
            directions = torch.where(moved[:, None], self.directions.lerp(gradient, share), kept)
            idle = (IDLE * float(directions.norm(dim=1).amax())) * normalize(directions, dim=1)
            towards = torch.where((seen & ~moved)[:, None], idle, directions)
            last = rows
            rows, placed = self._nearest(towards, (directions.abs().amax(1) > 0) & ~self.held, rows)
            if float((rows - last).abs().amax()) < SETTLED:
                break
        self.directions.copy_(directions)
        self.weight_seen[moved & placed] = 1.0
        self.updates += 1
        held = self.rotation[:count][self.held]
        aligned = placed.nonzero().flatten()
        if len(aligned):
            self.rotation.copy_(rotated(self.rotation, aligned, rows[aligned]))
        if int(self.updates) % POLISH == 0:
            self.rotation.copy_(polished(self.rotation))
        # Bit by bit: rounding of thousands of updates would add up.
        self.rotation[:count][self.held] = held
        self._warn_of_hidden(moved & ~placed & ~self.held)

    def _nearest(self, towards: Tensor, chosen: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Orthonormal rows nearest to these directions, outside the span of those held, and which have been placed."""
        current = self.rotation[: len(self.axes)]
        found = current.clone() if rows is None else rows.clone()
        found[self.held] = held = current[self.held]
        chosen = chosen & ~self.held
        held = held.double()
        outside = project_out(project_out(towards.double(), held), held)
        placed = chosen & (outside.norm(dim=1) > HIDDEN * towards.norm(dim=1))
        if bool(placed.any()):
            outside = outside[placed]
            if len(held):
                # Rows of a small rank leave polar a choice: let it be outside the held ones too.
                basis = orthonormalise(current[placed].double(), held)
                _, sizes, more = torch.linalg.svd(project_out(outside, basis), full_matrices=False)
                basis = torch.cat([basis, more[sizes > HIDDEN * outside.norm()]])
                outside = polar(outside @ basis.T) @ basis
            else:
                outside = polar(outside)
            found[placed] = outside.to(found.dtype)
        return found, placed

    def _warn_of_hidden(self, hidden: Tensor) -> None:
        """Report, once, concepts that have no direction of their own."""
        for name in self.axes.names:
            if name not in self._hidden and bool(hidden[list(self.axes.of[name])].all()):
                self._hidden.add(name)
                warnings.warn(
                    f"{self.label}the concept '{name}' lies within the axes that are held, so it gets none of its own; "
                    "show it with the others from the start, or do not freeze them",
                    stacklevel=4,
                )

    def _means(self, images: SeenConcepts) -> Tensor:
        """Mean whitened features for each axis; a concept of several axes gives its axes parts of its images."""
        found = {}
        for one in sorted(images.concepts, key=lambda one: one.axes.start - one.axes.stop):
            shares = one.means.tensor_split(one.axes.stop - one.axes.start)
            found |= {axis: of.mean(0) for axis, of in enumerate(shares, one.axes.start) if len(of)}
        rows = self.rotation[: len(self.axes)].clone()
        if found:
            rows[list(found)] = images.whitened(torch.stack(list(found.values()))).to(rows.dtype)
        return rows

    @torch.no_grad()
    def warn_of_neighbours(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> None:
        """Warn, in one line, of concepts that no two orthogonal axes can tell apart, each pair once: cosine beyond .9.

        Takes what align takes, but is no part of it: while statistics still lag behind a network that changes fast,
        all means look the same. Two concepts whose axes are both held are not compared.
        """
        with torch.autocast(self.mean.device.type, enabled=False):
            images = self._images(inputs, masks or {})
        # What lies inside another concept is like it.
        names = [name for name in inputs if len(self.axes.inside(name)) == 1]
        if not names:
            return
        means = [one.means.mean(0) for name, one in zip(inputs, images.concepts, strict=True) if name in names]
        means = normalize(images.whitened(torch.stack(means)), dim=1)
        cosines = means @ means.T
        # Axes that are held were laid by what the network answered then, not by this.
        moves = torch.tensor([not bool(self.held[list(self.axes.of[name])].all()) for name in names])
        near = (cosines.abs().cpu() > COLLINEAR) & (moves[:, None] | moves)
        pairs = near.triu(1).nonzero().tolist()
        found = {(names[one], names[other]): float(cosines[one, other].clamp(-1, 1)) for one, other in pairs}
        new = {pair: cosine for pair, cosine in found.items() if pair not in self._near}
        if not new:
            return
        self._near |= new.keys()
        # One line, however many: the worst pair stands for the others.
        pair = max(new, key=lambda pair: abs(new[pair]))
        how = "opposite" if new[pair] < 0 else "the same"
        others = f", those of {len(new) - 1} other pairs hardly less" if len(new) > 1 else ""
        warnings.warn(
            f"{self.label}the mean features of '{pair[0]}' and '{pair[1]}' are nearly {how} "
            f"({math.degrees(math.acos(new[pair])):.0f} degrees apart){others}: no two orthogonal axes tell both well "
            "from other images",
            stacklevel=2,
        )
