"""Continual learning with orthogonal projections, readable layers, and RSA across random seeds."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthotrace import analysis
    from orthotrace.core.errors import UserError
    from orthotrace.layers import (
        ConceptWhitening,
        Orthogonal,
        Whitening,
        fit,
        fold,
        orthogonal_init,
        orthogonalise,
        replace_norm,
    )
    from orthotrace.methods.ewc import EWC, OnlineEWC
    from orthotrace.methods.finetune import Finetune
    from orthotrace.methods.gpm import GPM
    from orthotrace.methods.hlop import HLOP
    from orthotrace.methods.lwf import LwF
    from orthotrace.methods.nscl import NSCL
    from orthotrace.methods.owm import OWM
    from orthotrace.methods.references import Independent, Joint
    from orthotrace.methods.replay import AveragedGem, DarkExperienceReplay, ExperienceReplay
    from orthotrace.methods.sgp import SGP
    from orthotrace.methods.si import SI
    from orthotrace.methods.trgp import TRGP
    from orthotrace.protection import Guard
    from orthotrace.results.run_folder import load
    from orthotrace.subspace import HebbianSubspace, SvdSubspace

__version__ = version("orthotrace")

# Where each public name lives. Imported when it is asked for: the command line answers --help and mistakes at once.
_PLACES = {
    # a trained run
    "load": "results.run_folder",
    # protection from catastrophic forgetting, in any training loop
    "Guard": "protection",
    "HebbianSubspace": "subspace",
    "SvdSubspace": "subspace",
    # methods: orthogonal projections
    "HLOP": "methods.hlop",
    "GPM": "methods.gpm",
    "SGP": "methods.sgp",
    "TRGP": "methods.trgp",
    "OWM": "methods.owm",
    "NSCL": "methods.nscl",
    # methods: what they are compared with
    "Finetune": "methods.finetune",
    "EWC": "methods.ewc",
    "OnlineEWC": "methods.ewc",
    "SI": "methods.si",
    "LwF": "methods.lwf",
    "ExperienceReplay": "methods.replay",
    "DarkExperienceReplay": "methods.replay",
    "AveragedGem": "methods.replay",
    "Joint": "methods.references",
    "Independent": "methods.references",
    # readable layers
    "Whitening": "layers",
    "ConceptWhitening": "layers",
    "replace_norm": "layers",
    "fit": "layers",
    "Orthogonal": "layers",
    "orthogonalise": "layers",
    "orthogonal_init": "layers",
    "fold": "layers",
    # representational similarity analysis
    "analysis": "",
    # what a user's mistake raises
    "UserError": "core.errors",
}

__all__ = [
    "EWC",
    "GPM",
    "HLOP",
    "NSCL",
    "OWM",
    "SGP",
    "SI",
    "TRGP",
    "AveragedGem",
    "ConceptWhitening",
    "DarkExperienceReplay",
    "ExperienceReplay",
    "Finetune",
    "Guard",
    "HebbianSubspace",
    "Independent",
    "Joint",
    "LwF",
    "OnlineEWC",
    "Orthogonal",
    "SvdSubspace",
    "UserError",
    "Whitening",
    "analysis",
    "fit",
    "fold",
    "load",
    "orthogonal_init",
    "orthogonalise",
    "replace_norm",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'orthotrace' has no attribute {name!r}")
    place = _PLACES[name]
    module = import_module(f"orthotrace.{place}" if place else f"orthotrace.{name}")
    value = getattr(module, name) if place else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
