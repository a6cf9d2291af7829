"""The tutorials of docs/tutorials: runs the cells of each notebook and keeps what they print and draw.

python scripts/notebooks.py                 all of them, written back with their outputs
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"


def outputs(cell: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell; what it printed, the value of its last line, and its figures, as a notebook stores them."""
    tree = ast.parse(cell)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    printed, found = io.StringIO(), []
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        value = (
            eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if isinstance(last, ast.Expr) else None
        )
    text = printed.getvalue() + ("" if value is None else f"{value!r}\n")
    if text:
        found.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    for number in plt.get_fignums():
        image = io.BytesIO()
        plt.figure(number).savefig(image, dpi=150, metadata={"Software": None})
        data = {"image/png": base64.b64encode(image.getvalue()).decode()}
        found.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return found


def run(path: Path) -> dict[str, Any]:
    """The notebook with the outputs of a fresh run."""
    book = json.loads(path.read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    plt.close("all")  # only its own figures are a notebook's
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell |= {"outputs": outputs("".join(cell["source"]), names), "execution_count": count}
    return book


if __name__ == "__main__":
    for path in sorted(TUTORIALS.glob("*.ipynb")):
        path.write_text(json.dumps(run(path), indent=1, ensure_ascii=False) + "\n")
        print(path)
