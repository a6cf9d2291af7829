"""Between a network and its subspaces: collecting what layers see, projecting what an optimizer applied."""

from orthotrace.protection.guard import Guard
from orthotrace.protection.layers import protectable
from orthotrace.protection.taps import Taps

__all__ = ["Guard", "Taps", "protectable"]
