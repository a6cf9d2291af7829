"""Layers that can be read: whitening, concept whitening, orthogonal weights."""

from orthotrace.layers.concept_whitening import ConceptWhitening
from orthotrace.layers.replace import replace_norm
from orthotrace.layers.whitening import Whitening

__all__ = ["ConceptWhitening", "Whitening", "replace_norm"]
