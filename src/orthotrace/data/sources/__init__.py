"""Sources of labelled images."""

from orthotrace.data.sources.archive import archive
from orthotrace.data.sources.arrays import arrays
from orthotrace.data.sources.base import Source
from orthotrace.data.sources.cognitive import cognitive
from orthotrace.data.sources.events import events
from orthotrace.data.sources.folder import folder
from orthotrace.data.sources.scikit import digits
from orthotrace.data.sources.several import several
from orthotrace.data.sources.table import table
from orthotrace.data.sources.targets import targets
from orthotrace.data.sources.text import text

__all__ = [
    "Source", "archive", "arrays", "cognitive", "digits", "events", "folder", "several", "table", "targets", "text",
]  # fmt: skip
