"""Continual learning with orthogonal projections, readable layers, and RSA across random seeds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# For type checkers, which cannot follow _PUBLIC. A test compares the two.
if TYPE_CHECKING:
    from orthotrace import analysis as analysis
    from orthotrace.core.errors import UserError as UserError
    from orthotrace.layers import IF as IF
    from orthotrace.layers import LIF as LIF
    from orthotrace.layers import ConceptWhitening as ConceptWhitening
    from orthotrace.layers import Orthogonal as Orthogonal
    from orthotrace.layers import Whitening as Whitening
    from orthotrace.layers import feedback as feedback
    from orthotrace.layers import fit as fit
    from orthotrace.layers import fold as fold
    from orthotrace.layers import lora as lora
    from orthotrace.layers import orthogonal_init as orthogonal_init
    from orthotrace.layers import orthogonalise as orthogonalise
    from orthotrace.layers import replace_norm as replace_norm
    from orthotrace.layers import spiking as spiking
    from orthotrace.methods.api import API as API
    from orthotrace.methods.associative import Associative as Associative
    from orthotrace.methods.codecl import CodeCL as CodeCL
    from orthotrace.methods.cuber import CUBER as CUBER
    from orthotrace.methods.duncker import Duncker as Duncker
    from orthotrace.methods.eblora import EBLoRA as EBLoRA
    from orthotrace.methods.ewc import EWC as EWC
    from orthotrace.methods.ewc import OnlineEWC as OnlineEWC
    from orthotrace.methods.finetune import Finetune as Finetune
    from orthotrace.methods.gpm import GPM as GPM
    from orthotrace.methods.hat import HAT as HAT
    from orthotrace.methods.hlop import HLOP as HLOP
    from orthotrace.methods.icarl import ICaRL as ICaRL
    from orthotrace.methods.inflora import InfLoRA as InfLoRA
    from orthotrace.methods.lwf import LwF as LwF
    from orthotrace.methods.nscl import NSCL as NSCL
    from orthotrace.methods.owm import OWM as OWM
    from orthotrace.methods.references import Independent as Independent
    from orthotrace.methods.references import Joint as Joint
    from orthotrace.methods.replay import AsymmetricReplay as AsymmetricReplay
    from orthotrace.methods.replay import AveragedGem as AveragedGem
    from orthotrace.methods.replay import DarkExperienceReplay as DarkExperienceReplay
    from orthotrace.methods.replay import ExperienceReplay as ExperienceReplay
    from orthotrace.methods.sgp import SGP as SGP
    from orthotrace.methods.si import SI as SI
    from orthotrace.methods.splitlora import SplitLoRA as SplitLoRA
    from orthotrace.methods.trgp import TRGP as TRGP
    from orthotrace.protection import Guard as Guard
    from orthotrace.results.run_folder import load as load
    from orthotrace.subspace import HebbianSubspace as HebbianSubspace
    from orthotrace.subspace import SvdSubspace as SvdSubspace

    __version__: str

# Module -> its public names. Imported when asked for, so that the command line answers --help and mistakes at once.
_PUBLIC = {
    # a trained run
    "results.run_folder": ["load"],
    # protection from catastrophic forgetting, in any training loop
    "protection": ["Guard"],
    "subspace": ["HebbianSubspace", "SvdSubspace"],
    # methods: orthogonal projections
    "methods.hlop": ["HLOP"],
    "methods.gpm": ["GPM"],
    "methods.sgp": ["SGP"],
    "methods.trgp": ["TRGP"],
    "methods.cuber": ["CUBER"],
    "methods.api": ["API"],
    "methods.owm": ["OWM"],
    "methods.duncker": ["Duncker"],
    "methods.nscl": ["NSCL"],
    "methods.codecl": ["CodeCL"],
    # methods: low-rank adapters
    "methods.inflora": ["InfLoRA"],
    "methods.splitlora": ["SplitLoRA"],
    "methods.eblora": ["EBLoRA"],
    # methods: what they are compared with
    "methods.finetune": ["Finetune"],
    "methods.ewc": ["EWC", "OnlineEWC"],
    "methods.si": ["SI"],
    "methods.lwf": ["LwF"],
    "methods.hat": ["HAT"],
    "methods.replay": ["ExperienceReplay", "AsymmetricReplay", "DarkExperienceReplay", "AveragedGem"],
    "methods.icarl": ["ICaRL"],
    "methods.associative": ["Associative"],
    "methods.references": ["Joint", "Independent"],
    # readable layers
    "layers": [
        "Whitening", "ConceptWhitening", "replace_norm", "fit",
        "Orthogonal", "orthogonalise", "orthogonal_init", "fold", "lora",
        # spiking networks
        "spiking", "LIF", "IF", "feedback",
    ],
    # representational similarity analysis
    "analysis": ["analysis"],
    # what a user's mistake raises
    "core.errors": ["UserError"],
}  # fmt: skip

__all__ = [name for names in _PUBLIC.values() for name in names]  # pyright: ignore[reportUnsupportedDunderAll]


# Hidden from type checkers: they would take any name for a public one.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("orthotrace")
        for place, names in _PUBLIC.items():
            if name in names:
                module = import_module(f"orthotrace.{place}")
                globals()[name] = value = module if name == place else getattr(module, name)
                return value
        raise AttributeError(f"module 'orthotrace' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__", *(name for name in globals() if name.startswith("__"))]
