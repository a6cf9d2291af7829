"""docs/howto/concepts.md: every command and the code, run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from images import encoded
from pages import PAGES

PAGE = PAGES["docs/howto/concepts.md"]
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^orthotrace-.*$", PAGE, re.MULTILINE)]


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    places = np.arange(16)

    def write(folder: Path, number: int, pixels: np.ndarray) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        noisy = np.clip(pixels + rng.integers(0, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
        (folder / f"{number:03}.png").write_bytes(encoded(noisy))

    for number in range(20):
        for shade, name in enumerate(("ant", "bee", "crab", "duck")):
            write(tmp_path / "pictures" / name, number, np.full((16, 16, 3), 45 * shade))
        stripes = 150 * (places % 4 < 2)[:, None, None] * np.ones((1, 16, 3))
        dots = 150 * ((places % 4 == 1)[:, None] & (places % 4 == 1))[:, :, None] * np.ones((1, 1, 3))
        write(tmp_path / "concepts" / "striped", number, stripes)
        write(tmp_path / "concepts" / "dotted", number, dots)
        write(tmp_path / "concepts" / "negatives", number, np.full((16, 16, 3), rng.integers(0, 180)))
    return tmp_path


# What the concepts have in common is not what is tested.
@pytest.mark.filterwarnings("ignore:.*the mean features of")
def test_the_commands_of_the_page(pictures, train, analyze):
    assert len(COMMANDS) == 2
    answer = train(*COMMANDS[0], "trainer.max_epochs=3", "seed=0,1")
    assert answer.code == 0, answer.err
    answer = analyze(*COMMANDS[1], "formats=[png]", "figures=[concepts-*]")
    assert answer.code == 0, answer.err
    folder = pictures / "runs" / "readable" / "analysis"
    results = json.loads((folder / "results.json").read_text())
    assert {one["concept"] for one in results["concepts"]} == {"striped", "dotted"}
    assert {one["task"] for one in results["concepts"]} == {1, 2} and len(results["concepts"]) == 16
    assert {one["method"] for one in results["concepts"]} == {"finetune", "gpm"}
    for figure in (
        "purity-finetune",
        "importance-finetune",
        "images-finetune",
        "separability",
        "correlations",
        "drift",
        "angle",
    ):
        assert (folder / "figures" / f"concepts-{figure}.png").is_file(), figure
    assert "concept vector" in (folder / "report.html").read_text()


def test_the_code_of_the_page():
    names: dict = {}
    layers, fitted = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(layers, names)
    assert names["activations"].shape == (64, 2)
    exec(fitted, names)
    assert names["activations"].shape == (20, 2) and names["network"](names["images"]).shape == (64, 2)
    assert names["purity"](names["activations"], names["has"]).auc.value.shape == (2,)
