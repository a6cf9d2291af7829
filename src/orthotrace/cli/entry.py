"""The commands as they are installed: signals are handled from the first moment, before anything else is imported."""

from importlib import import_module

from orthotrace.core.interrupt import interruptible


def train() -> None:
    """orthotrace-train."""
    _run("orthotrace.cli.train")


def analyze() -> None:
    """orthotrace-analyze."""
    _run("orthotrace.analysis.cli")


def runs() -> None:
    """orthotrace-runs."""
    _run("orthotrace.cli.runs")


def _run(module: str) -> None:
    with interruptible(for_good=True):
        import_module(module).main()
