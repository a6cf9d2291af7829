"""Concept sets: images that show a named concept, and images that lack it."""

from orthotrace.data.concepts.base import ConceptPart, ConceptSets
from orthotrace.data.concepts.folder import folder
from orthotrace.data.concepts.measured import measured

__all__ = ["ConceptPart", "ConceptSets", "folder", "measured"]
