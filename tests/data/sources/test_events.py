from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.recordings import Recording
from orthotrace.data.sources import events


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOTRACE_CACHE", str(tmp_path / "cache"))


def written(top, classes=("bar", "dot"), count=5, side=6, seed=0):
    """Recordings of events; those of class k lie in the columns from k on."""
    rng = np.random.default_rng(seed)
    for shift, name in enumerate(classes):
        (top / name).mkdir(parents=True)
        for number in range(count):
            x = rng.integers(shift, side, 40)
            np.savez(
                top / name / f"{number}.npz",
                x=x, y=rng.integers(0, side, 40), t=np.sort(rng.integers(0, 999, 40)), p=rng.integers(0, 2, 40),
            )  # fmt: skip
    return str(top)


def test_recordings_are_images_of_their_frames(tmp_path):
    source = events(written(tmp_path / "data"), steps=4, test_share=0.2)
    assert source.classes == ("bar", "dot") and source.shape == (8, 6, 6) and source.name == "data"
    assert torch.bincount(source.train.labels).tolist() == [4, 4] and torch.bincount(source.test.labels).tolist() == [
        1,
        1,
    ]
    assert source.train.inputs().sum((1, 2, 3)).tolist() == [40.0] * 8
    # The class of a recording shows: nothing of "dot" is in the first column.
    assert source.train.inputs()[source.train.labels == 1][..., 0].sum() == 0
    assert source.train.inputs()[source.train.labels == 0][..., 0].sum() > 0


def test_frames_are_those_of_each_file(tmp_path):
    path = written(tmp_path / "data" / "train"), written(tmp_path / "data" / "test", count=2, seed=1)
    source = events(str(tmp_path / "data"), steps=3, windows="count", size=(6, 8))
    with np.load(f"{path[1]}/dot/1.npz") as file:
        right = Recording.of(file["x"], file["y"], file["t"], file["p"]).frames(3, (6, 8), "count")
    assert (source.test.images[3].numpy() == right).all() and len(source.test) == 4


def test_options(tmp_path):
    path = written(tmp_path / "data")
    assert len(events(path, limit=2).train) == 4
    scaled = events(path, normalise=True).train.inputs()
    assert scaled.mean((0, 2, 3)).abs().max() < 1e-5 and events(path, size=9).shape == (20, 9, 9)
    again = events(path, steps=2), events(path, steps=2, windows="count")
    assert not torch.equal(again[0].train.images, again[1].train.images)


def test_pixels_that_are_full_are_told(tmp_path, caplog):
    path = written(tmp_path / "data")
    np.savez(tmp_path / "data" / "bar" / "0.npz", x=[0] * 300, y=[0] * 300, t=range(300), p=[1] * 300)
    events(path, steps=1)
    assert "1 pixels have 255 events or more in a frame" in caplog.text


@pytest.mark.parametrize(
    ("change", "options", "line"),
    [
        (lambda top: None, {"size": 3}, r"size: .*npz has events up to .*, beyond \(3, 3\)"),
        (lambda top: (top / "bar" / "0.npz").write_bytes(b"no"), {}, r"bar/0\.npz cannot be read"),
        (lambda top: (top / "cat").mkdir(), {}, "cat has no recordings"),
        (lambda top: None, {"steps": 0}, "steps"),
        (lambda top: None, {"windows": "both"}, "windows"),
        (lambda top: None, {"camera": "phone"}, "camera"),
        (lambda top: None, {"test_share": 0.01}, "of the 5 recordings of class bar leaves one part empty"),
    ],
)
def test_what_cannot_be(tmp_path, change, options, line):
    path = written(tmp_path / "data")
    change(tmp_path / "data")
    with pytest.raises(UserError, match=line):
        events(path, **options)


def test_a_spiking_network_learns_which_came_first(train, tmp_path):
    """Classes of the same events, in other orders: no sum over time tells them apart."""
    rng = np.random.default_rng(0)
    for number, order in enumerate(([0, 1], [1, 0], [2, 3], [3, 2])):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        for one in range(20):
            # Four events at each of two places, the one before the other; and one of noise.
            x = np.repeat(order, 4)
            t = np.concatenate([rng.integers(0, 400, 4), rng.integers(600, 1000, 4)])
            x, t = np.append(x, rng.integers(0, 4)), np.append(t, rng.integers(0, 1000))
            np.savez(tmp_path / "data" / str(number) / f"{one}.npz", x=x, y=0 * x, t=t, p=0 * x + 1)
    answer = train(
        "dataset=events", f"dataset.path={tmp_path}/data", "dataset.steps=4", "dataset.size=[1,4]", "stream=split",
        "stream.tasks=2", "stream.class_order=['0','1','2','3']", "model=spiking_mlp", "model.encoding=frames",
        "model.steps=4", "model.learning=bptt", "model.hidden=[24]", "trainer.max_epochs=20", "trainer.batch_size=8",
        "method=finetune", "hydra.run.dir=run",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["learning_accuracy"] > 0.9
