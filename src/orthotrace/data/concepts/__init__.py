"""Concept sets: images with a named concept, and images without it."""

from orthotrace.data.concepts.base import ConceptPart, ConceptSets
from orthotrace.data.concepts.folder import folder
from orthotrace.data.concepts.measured import measured

__all__ = ["ConceptPart", "ConceptSets", "folder", "measured"]
