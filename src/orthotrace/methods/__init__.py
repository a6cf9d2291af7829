"""What a user compares: one file for each method."""

from orthotrace.methods.base import Method, Outcome

__all__ = ["Method", "Outcome"]
