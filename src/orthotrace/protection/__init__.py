"""Between a network and its subspaces: collecting what layers see, projecting what an optimizer applied."""

from orthotrace.protection.guard import Projector
from orthotrace.protection.layers import protectable
from orthotrace.protection.plain_loop import Guard
from orthotrace.protection.taps import Taps

__all__ = ["Guard", "Projector", "Taps", "protectable"]
