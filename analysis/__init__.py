"""Compare networks by the geometry of their representations, and draw the figures of a paper."""

from typing import TYPE_CHECKING, Any

# For type checkers.
if TYPE_CHECKING:
    from orthotrace.analysis.comparison import compare_networks as compare_networks

__all__ = ["compare_networks"]

# Imported when it is asked for: with it come torch and matplotlib.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name != "compare_networks":
            raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
        from orthotrace.analysis.comparison import compare_networks

        globals()[name] = compare_networks
        return compare_networks
