"""Which axes belong to which concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orthotrace.core.errors import UserError, refuse_unknown


@dataclass(frozen=True)
class Axes:
    """The first axes of a layer, and the concepts on them.

    A concept "animal/dog" lies inside the concept "animal", whose subspace has an axis for each concept inside it and
    may have free ones beside them.

    Attributes:
        names: of the concepts.
        of: concept -> its axes, from 0.
        labels: a name for each axis: its concept, with a number where it is one of several free axes.
    """

    names: tuple[str, ...]
    of: Mapping[str, tuple[int, ...]]
    labels: tuple[str, ...]

    @staticmethod
    def laid_out(names: Sequence[str], sizes: Mapping[str, int] | None = None) -> Axes:
        """Axes of concepts, in the order of their names; those inside another come where it does.

        Args:
            names: of the concepts, each once.
            sizes: how many axes a concept has, those of the concepts inside it counted; others have one, or as many
                as there are concepts inside them.

        Raises:
            UserError: no concept, a name twice, a size for an unknown concept, or fewer axes than concepts inside.

        Example:
            >>> Axes.laid_out(["car", "animal", "animal/dog"], {"animal": 2}).of
            {'car': (0,), 'animal': (1, 2), 'animal/dog': (1,)}
        """
        sizes = dict(sizes or {})
        if not names:
            raise UserError("name one concept at least", "concepts")
        for name in names:
            if list(names).count(name) > 1:
                raise UserError(f"there are two concepts '{name}'", "concepts")
        refuse_unknown(sizes, names, "there is no concept", "sizes")
        of: dict[str, tuple[int, ...]] = {}
        labels: list[str] = []

        def lay(name: str) -> None:
            inside = [other for other in names if _parent(other, names) == name]
            first = len(labels)
            for other in inside:
                lay(other)
            own = len(labels) - first
            size = sizes.get(name, max(own, 1))
            if size < max(own, 1):
                raise UserError(f"concept '{name}' needs {max(own, 1)} axes (got {size})", "sizes")
            free = size - own
            labels.extend(name if free == 1 and not own else f"{name} {number + 1}" for number in range(free))
            of[name] = tuple(range(first, len(labels)))

        for name in names:
            if _parent(name, names) is None:
                lay(name)
        return Axes(tuple(names), {name: of[name] for name in names}, tuple(labels))

    def __len__(self) -> int:
        return len(self.labels)

    def inside(self, name: str) -> list[str]:
        """The concepts inside a concept, and itself.

        Example:
            >>> Axes.laid_out(["animal", "animal/dog"]).inside("animal")
            ['animal', 'animal/dog']
        """
        return [other for other in self.names if other == name or other.startswith(f"{name}/")]


def _parent(name: str, names: Sequence[str]) -> str | None:
    """The nearest concept that a concept lies inside."""
    around = [other for other in names if name.startswith(f"{other}/")]
    return max(around, key=len, default=None)
