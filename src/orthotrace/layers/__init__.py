"""Layers that can be read: whitening, concept whitening, orthogonal weights; and spiking neurons."""

from orthotrace.layers.concept_whitening import ConceptWhitening
from orthotrace.layers.feedback import feedback
from orthotrace.layers.fit import fit
from orthotrace.layers.lora import adapters, lora, merge
from orthotrace.layers.neurons import IF, LIF
from orthotrace.layers.orthogonal import ONI, OWN, Orthogonal, Stiefel
from orthotrace.layers.orthogonalise import deviations, fold, orthogonal_init, orthogonalise
from orthotrace.layers.replace import replace_norm
from orthotrace.layers.spiking import spiking
from orthotrace.layers.whitening import Whitening

__all__ = [
    "IF",
    "LIF",
    "ONI",
    "OWN",
    "ConceptWhitening",
    "Orthogonal",
    "Stiefel",
    "Whitening",
    "adapters",
    "deviations",
    "feedback",
    "fit",
    "fold",
    "lora",
    "merge",
    "orthogonal_init",
    "orthogonalise",
    "replace_norm",
    "spiking",
]
