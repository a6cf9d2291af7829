"""What every figure of a script ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orthotrace.analysis.figures.style import letter
from orthotrace.core.files import whole


def save(figure: Any, panels: Any, path: Path) -> None:
    """Letter the panels in their order, and write the figure: the same bytes each time."""
    for number, panel in enumerate(np.ravel(panels)):
        letter(panel, number)
    with whole(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
