"""How well models predict RDMs, and how sure that is."""

from orthotrace.analysis.inference.ceilings import ceiling
from orthotrace.analysis.inference.evaluation import bootstrap, evaluate
from orthotrace.analysis.inference.groups import GroupDifference, group_test
from orthotrace.analysis.inference.models import Fixed, Selected, Weighted
from orthotrace.analysis.inference.significance import permutation_test

__all__ = [
    "Fixed", "GroupDifference", "Selected", "Weighted", "bootstrap", "ceiling", "evaluate", "group_test",
    "permutation_test",
]  # fmt: skip
