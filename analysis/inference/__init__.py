"""How well models predict RDMs, and how sure that is."""

from orthotrace.analysis.inference.ceilings import ceiling
from orthotrace.analysis.inference.evaluation import bootstrap, evaluate
from orthotrace.analysis.inference.models import Fixed, Selected, Weighted
from orthotrace.analysis.inference.significance import permutation_test

__all__ = ["Fixed", "Selected", "Weighted", "bootstrap", "ceiling", "evaluate", "permutation_test"]
