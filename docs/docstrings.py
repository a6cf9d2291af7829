"""What griffe is told about our docstrings: "Example:" holds doctests, as "Examples:" does in Google's style."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension


class Examples(Extension):
    """Turns the heading into the one that is rendered as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of one object before it is parsed."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
