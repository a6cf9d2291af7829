"""How well models predict RDMs, and how sure that is."""

from orthotrace.analysis.inference.agreement import ceiling_test
from orthotrace.analysis.inference.ceilings import ceiling
from orthotrace.analysis.inference.evaluation import bootstrap, evaluate
from orthotrace.analysis.inference.groups import GroupDifference, GroupInterval, group_interval, group_test
from orthotrace.analysis.inference.models import Fixed, Selected, Weighted
from orthotrace.analysis.inference.partial import partial, semi_partial
from orthotrace.analysis.inference.partition import VariancePartition, variance_partition
from orthotrace.analysis.inference.significance import permutation_test
from orthotrace.analysis.inference.variance import VarianceComponents, variance_components

__all__ = [
    "Fixed", "GroupDifference", "GroupInterval", "Selected", "VarianceComponents", "VariancePartition", "Weighted",
    "bootstrap", "ceiling", "ceiling_test", "evaluate", "group_interval", "group_test", "partial", "permutation_test",
    "semi_partial", "variance_components", "variance_partition",
]  # fmt: skip
