"""Sources of labelled images."""

from orthotrace.data.sources.arrays import archive, arrays
from orthotrace.data.sources.base import Source
from orthotrace.data.sources.folder import folder
from orthotrace.data.sources.scikit import digits
from orthotrace.data.sources.several import several
from orthotrace.data.sources.table import table

__all__ = ["Source", "archive", "arrays", "digits", "folder", "several", "table"]
