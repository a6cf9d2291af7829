"""docs/howto/spiking.md: its commands and its code."""

from __future__ import annotations

import re

import torch
from pages import PAGES

PAGE = PAGES["docs/howto/spiking.md"]


def test_the_code_of_the_page():
    torch.manual_seed(0)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert all(0 < space.rank < space.features for space in names["guard"].subspaces.values())
    assert names["online"].rest.steps == 0 and names["state"].steps == names["online"].steps == 8


def test_the_first_command_of_the_page(train):
    command, _, _ = re.findall(r"^orthotrace-train (.*)$", PAGE, re.MULTILINE)
    answer = train(*command.split(), "trainer.max_epochs=1", "stream.tasks=2")
    assert answer.code == 0, answer.err
