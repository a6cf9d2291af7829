"""docs/howto/blocks.md: its description and its commands, as they stand there."""

from __future__ import annotations

import json

from pages import PAGES, blocks, commands

from orthotrace.models.block_kinds import KINDS

PAGE = "docs/howto/blocks.md"
FEW = ("dataset.limit=10", "stream.tasks=2", "trainer.max_epochs=1")


def test_every_kind_is_on_the_page():
    listed = [line.split("`")[1] for line in PAGES[PAGE].splitlines() if line.startswith("| `")]
    assert sorted(name for name in listed if name != "kind") == sorted(KINDS)


def test_the_commands_of_the_page(train, analyze, tmp_path):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "small.yaml").write_text(blocks(PAGE, "yaml")[0])
    small, analysis, listed, paths = commands(PAGE)
    # On so few images an energy would hold all directions of a small layer.
    for command in ([*small, "method.rows=1"], [*listed, "method.rows=1"], paths):
        answer = train(*command[1:], *FEW)
        assert answer.code == 0, answer.err
    runs = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("scores.json")]
    assert len(runs) == 4 and all(leak < 1e-6 for run in runs for leak in run.get("leak") or [])
    answer = analyze(*analysis[1:], "formats=[png]", "figures=[accuracy]")
    assert answer.code == 0, answer.err


def test_a_mistake_is_told_by_its_place(train):
    answer = train("model=blocks", "model.blocks=[{kind: pool}, {kind: pool}, {kind: conv}]")
    assert answer.code == 2 and answer.err == "error: model.blocks[2].channels: is missing\n"
