"""Streams: sequences of tasks made from sources."""

from orthotrace.data.streams.base import Stream, Task
from orthotrace.data.streams.mixed import Mixed
from orthotrace.data.streams.permuted import Permuted
from orthotrace.data.streams.rotated import Rotated
from orthotrace.data.streams.sequence import Sequence
from orthotrace.data.streams.single import Single
from orthotrace.data.streams.split import Split, Superclasses

__all__ = ["Mixed", "Permuted", "Rotated", "Sequence", "Single", "Split", "Stream", "Superclasses", "Task"]
