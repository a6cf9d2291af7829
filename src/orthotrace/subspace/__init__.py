"""What a layer must not forget: the directions of its input that mattered."""

from orthotrace.subspace.base import Capacity, Subspace
from orthotrace.subspace.hebbian import HebbianSubspace
from orthotrace.subspace.svd import SvdSubspace

__all__ = ["Capacity", "HebbianSubspace", "Subspace", "SvdSubspace"]
