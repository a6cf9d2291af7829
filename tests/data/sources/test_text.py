"""Texts as tokens: from Parquet files, by the user's tokenizer, into a network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest
import torch
from composed import built, composed
from pyarrow.parquet import write_table

from orthotrace.config.build import build
from orthotrace.core.errors import UserError
from orthotrace.data.sources import text
from orthotrace.data.sources.text import tokens_of
from orthotrace.results.run_folder import Run

WORDS = {"good": ["fine", "very fine", "so good"], "bad": ["poor", "very poor", "so bad indeed"]}


class Words:
    """A tokenizer of one's own: a number for each word."""

    def __init__(self, first: int = 1):
        self.first = first

    def __call__(self, one: str):
        return {"input_ids": [self.first + len(word) for word in one.split()]}


def written(folder, rows=None, **more):
    for part in ("train", "test"):
        content = rows or {
            "text": [one for texts in WORDS.values() for one in texts * 8] + ["z"],
            "label": [name for name, texts in WORDS.items() for _ in texts * 8] + ["bad"],
        }
        write_table(pyarrow.table(content | more), folder / f"{part}-0.parquet")
    return str(folder)


def test_bytes_of_texts_end_at_the_end(tmp_path):
    source = text(path=written(tmp_path), length=6)
    assert source.classes == ("bad", "good") and source.shape == (6,)
    first = source.train.images[0]
    assert first.tolist() == [0, 0, *(byte + 1 for byte in b"fine")] and int(source.train.labels[0]) == 1
    # A longer one is cut.
    assert source.train.images[1].tolist() == [byte + 1 for byte in b"very f"]


@pytest.mark.parametrize(
    "gives",
    [
        lambda one: [3, 5],
        lambda one: {"input_ids": [3, 5]},
        lambda one: SimpleNamespace(input_ids=[3, 5]),
        lambda one: np.array([3, 5]),
        lambda one: torch.tensor([3, 5]),
    ],
)
def test_what_a_tokenizer_may_give(gives):
    assert tokens_of(["a", "b"], gives, length=3, pad=9).tolist() == [[9, 3, 5]] * 2


@pytest.mark.parametrize("gives", ["ab", [0.5], [-1], None, 7, {"ids": [1]}, ["a"], [True]])
def test_what_are_no_tokens(gives):
    with pytest.raises(UserError, match=r"tokenizer: gives .* for a text, and no numbers from 0"):
        tokens_of(["a"], lambda one: gives)


def test_an_error_of_the_tokenizer_is_one_line():
    with pytest.raises(UserError, match="tokenizer: raised an error: a b") as refused:
        tokens_of(["x"], lambda one: (_ for _ in ()).throw(ValueError("a\nb")))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({"text": ["a", None], "label": [0, 1]}, {}, "text: row 1 of train-0.parquet has no text"),
        ({"text": ["a", "b"], "label": [0, None]}, {}, "label: row 1 of train-0.parquet has no label"),
        ({"text": [1, 2], "label": [0, 1]}, {}, "text: row 0 of train-0.parquet has no text"),
        ({"text": ["a", "b"], "label": [0, -1]}, {}, "label: labels are whole numbers from 0"),
        ({"text": ["a", "b"], "label": [0, 1]}, {"text": "body"}, "text: train-0.parquet has no column 'body'"),
        ({"text": ["a", "b"], "label": [0, 1]}, {"classes": ["x"]}, "classes: 1 names for 2 classes"),
        ({"text": ["a", "b"], "label": [0, 1]}, {"length": 0}, "length"),
    ],
)
def test_texts_that_cannot_be(tmp_path, rows, options, message):
    with pytest.raises(UserError) as refused:
        text(path=written(tmp_path, rows), **options)
    assert str(refused.value).startswith(message)


TINY = (
    "stream=split", "stream.tasks=1", "stream.scenario=class", "model=gru", "model.hidden=[6]", "model.embedding=4",
    "trainer.max_epochs=3", "trainer.batch_size=8", "trainer.accelerator=cpu", "optimizer=adam", "optimizer.lr=.05",
)  # fmt: skip


def test_a_network_learns_from_texts(tmp_path):
    data = ("dataset=text", f"dataset.path={written(tmp_path)}", "dataset.length=12")
    experiment = built(Run(tmp_path / "run"), *data, *TINY, "model.vocabulary=257", "method=finetune")
    assert experiment.run().accuracy[0][0] > 0.9
    embedded = experiment.learner.model.get_submodule("embed").weight
    assert embedded.shape == (257, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Of the first texts it has all tokens, not of the last one.
        (["model.vocabulary=123"], r"its tokens are 0 to 123: give it 124, as model.vocabulary"),
        ([], r"model.vocabulary: inputs of 12 steps are tokens: say how many"),
        (["model.vocabulary=257", "model.reading=rows"], r"model.reading: inputs of 12 are sequences already"),
        (
            ["model.vocabulary=257", "regularizer.input_noise=.1"],
            r"regularizer.input_noise: .* these inputs are tokens",
        ),
        (["model.vocabulary=257", "stream.input_noise=.1"], r"stream.input_noise: .* these inputs are tokens"),
    ],
)
def test_what_does_not_go_together(tmp_path, change, message):
    data = ("dataset=text", f"dataset.path={written(tmp_path)}", "dataset.length=12")
    with pytest.raises(UserError, match=message):
        built(Run(tmp_path / "run"), *data, *TINY, "method=finetune", *change)


def test_a_tokenizer_of_ones_own_by_its_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    config = composed(
        "dataset=text", f"dataset.path={written(tmp_path)}", "+dataset.tokenizer={_target_: test_text.Words, first: 2}",
        "dataset.length=3",
    )  # fmt: skip
    source = build(config, "dataset")
    assert source.train.images[1].tolist() == [0, 6, 6]
