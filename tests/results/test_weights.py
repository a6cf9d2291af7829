"""Weights of runs and files, whatever wrote them; what is no weights is one line."""

from __future__ import annotations

import pickle

import pytest
import torch
from composed import built
from safetensors.torch import save_file
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run
from orthotrace.results.weights import digest_of_weights, weights_of

WEIGHTS = MLP((1, 8, 8), 10, hidden=[4]).state_dict()
WRITTEN = {
    "a.pt": lambda path: torch.save(WEIGHTS, path),
    "a.pth": lambda path: torch.save({"state_dict": WEIGHTS, "epoch": 3}, path),
    "lightning.ckpt": lambda path: torch.save(
        {"state_dict": {f"model.{name}": value for name, value in WEIGHTS.items()} | {"criterion.x": torch.ones(1)}}, path
    ),
    "parallel.pt": lambda path: torch.save({f"module.{name}": value for name, value in WEIGHTS.items()}, path),
    "compiled.pt": lambda path: torch.save({f"_orig_mod.{name}": value for name, value in WEIGHTS.items()}, path),
    "a.safetensors": lambda path: save_file(WEIGHTS, path),
}  # fmt: skip
REFUSED = {
    "a.pkl": (lambda path: path.write_bytes(pickle.dumps({"run": print})), "or a pickle of more than weights, which could run code"),
    "module.pt": (lambda path: torch.save(nn.Linear(2, 2), path), "or a pickle of more than weights, which could run code"),
    "text.pt": (lambda path: path.write_text("hello"), "holds no weights, or"),
    "text.safetensors": (lambda path: path.write_text("hello"), "holds no weights, or"),
    "empty.pt": (lambda path: path.touch(), "holds no weights, or"),
    "list.pt": (lambda path: torch.save([1, 2], path), "holds no weights by name"),
    "nothing.pt": (lambda path: torch.save({}, path), "holds no weights by name"),
    "nowhere.pt": (lambda path: None, "there is no file or folder"),
    "a_folder": (lambda path: path.mkdir(), "is not a run's folder"),
    "stopped": (lambda path: (path / ".hydra").mkdir(parents=True) or (path / ".hydra/config.yaml").touch(), "has no checkpoints"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_gives_the_weights_that_were_saved_and_their_digest(tmp_path, name):
    torch.save(WEIGHTS, tmp_path / "reference.pt")
    WRITTEN[name](path := tmp_path / name)
    found = weights_of(path)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(value, WEIGHTS[key]) for key, value in found.items())
    assert digest_of_weights(path) == digest_of_weights(tmp_path / "reference.pt")


def test_the_digest_is_of_names_types_shapes_and_values(tmp_path):
    one = torch.arange(4.0)
    contents = [{"a": one}, {"b": one}, {"a": one.double()}, {"a": one.view(2, 2)}, {"a": one + 1}]
    digests = set()
    for content in contents:
        # The same file, written again.
        torch.save(content, tmp_path / "a.pt")
        digests.add(digest_of_weights(tmp_path / "a.pt"))
    assert len(digests) == len(contents)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_weights_is_one_line(tmp_path, name):
    make, said = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(UserError, match=said) as refused:
        weights_of(tmp_path / name)
    assert name in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("method", ["finetune", "trgp"])
def test_a_run_and_its_last_checkpoint_give_the_network_as_it_was_tested(tmp_path, method):
    run = Run(tmp_path / "run")
    rows = ["method.rows=1"] if method == "trgp" else []
    built(
        run, f"method={method}", "stream=permuted", *rows, "stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[4]"
    ).run()
    content = torch.load(run.checkpoint(2), weights_only=True)["orthotrace"]
    for place in (run.folder, run.checkpoint(2)):
        found = weights_of(place)
        model = MLP(content["shape"], content["classes"], hidden=[4])
        model.load_state_dict(found)
    assert ("network" in content) == (method == "trgp")
    if method == "trgp":
        assert all(torch.equal(found[name], value) for name, value in content["network"].items())
    assert digest_of_weights(run.folder) == digest_of_weights(run.checkpoint(2)) != digest_of_weights(run.checkpoint(1))
