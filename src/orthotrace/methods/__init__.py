"""What a user compares: one file for each method."""

from orthotrace.methods.base import Method, Outcome
from orthotrace.methods.context import TaskContext

__all__ = ["Method", "Outcome", "TaskContext"]
