"""Layers that can be read: weights that stay orthogonal while they are trained."""

from orthotrace.layers.orthogonal import ONI, OWN, Orthogonal, Stiefel
from orthotrace.layers.orthogonalise import deviations, fold, orthogonal_init, orthogonalise

__all__ = ["ONI", "OWN", "Orthogonal", "Stiefel", "deviations", "fold", "orthogonal_init", "orthogonalise"]
