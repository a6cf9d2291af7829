"""What a layer must not forget: the directions of its input that mattered."""

from orthotrace.subspace.base import Capacity, CountedSubspace, Subspace
from orthotrace.subspace.complement import ComplementSubspace
from orthotrace.subspace.conceptor import ConceptorSubspace
from orthotrace.subspace.hebbian import HebbianSubspace
from orthotrace.subspace.nullspace import NullSpace
from orthotrace.subspace.recursive import RecursiveSubspace
from orthotrace.subspace.regions import RegionSubspace
from orthotrace.subspace.released import ReleasedSubspace
from orthotrace.subspace.svd import SvdSubspace
from orthotrace.subspace.two_sided import TwoSidedSubspace
from orthotrace.subspace.weighted import WeightedSubspace

__all__ = [
    "Capacity",
    "ComplementSubspace",
    "ConceptorSubspace",
    "CountedSubspace",
    "HebbianSubspace",
    "NullSpace",
    "RecursiveSubspace",
    "RegionSubspace",
    "ReleasedSubspace",
    "Subspace",
    "SvdSubspace",
    "TwoSidedSubspace",
    "WeightedSubspace",
]
