"""Plain training on one task after another."""

from orthotrace.methods.base import Method


class Finetune(Method):
    """Nothing protects what was learned: the lower reference."""
