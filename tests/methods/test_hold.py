"""The dial between a projection method and plain training."""

from __future__ import annotations

import pytest
import torch
from composed import GROUPS, KEYS, built
from part import part
from tasks import after_one_task

from orthotrace.core.errors import UserError
from orthotrace.methods.projection import ProjectionMethod
from orthotrace.results.run_folder import Run
from orthotrace.subspace import SvdSubspace

PROJECTING = [name for name in GROUPS["method"] if "hold" in KEYS[name]]
TINY = (
    "stream=permuted", "dataset=digits", "dataset.limit=20", "stream.tasks=2", "model.hidden=[12]", "trainer.max_epochs=1", "trainer.batch_size=64",
    "trainer.accelerator=cpu", "seed=0",
)  # fmt: skip


def weights(folder, method: str, *words: str) -> dict[str, torch.Tensor]:
    experiment = built(Run(folder / f"{method} {len(words)}"), f"method={method}", *TINY, *words)
    experiment.run()
    return {name: value.detach().clone() for name, value in experiment.learner.model.state_dict().items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("plain"), "finetune")


def test_every_projection_method_has_the_dial():
    assert {"gpm", "hlop", "sgp", "trgp", "owm", "nscl", "codecl", "cuber", "api"} <= set(PROJECTING)


@pytest.mark.parametrize("method", part(PROJECTING, ["gpm", "owm", "cuber"]))
def test_nothing_held_is_plain_training_to_the_bit(method, plain, tmp_path):
    # A trust region of TRGP scales what it trusts, whatever is held; API may add to what it does not hold.
    words = {"trgp": ("method.regions=0",), "cuber": ("method.regions=0",), "api": ("method.threshold=0",)}
    found = weights(tmp_path, method, "method.hold=0.0", *words.get(method, ()))
    assert found.keys() == plain.keys()
    assert all(torch.equal(found[name], plain[name]) for name in plain)


class Deaf(ProjectionMethod):
    """Does not hand its options on."""

    def subspace(self, features, seed, **options):
        return SvdSubspace(features, rows=1)


class Inside(SvdSubspace):
    def inside(self, update):
        return super().inside(update)


class Overridden(ProjectionMethod):
    def subspace(self, features, seed, **options):
        return Inside(features, rows=1, **options)


@pytest.mark.parametrize("method", [Deaf, Overridden])
def test_a_subspace_that_pays_no_heed_is_refused(method):
    with pytest.raises(UserError, match=r"^hold: .* pays no heed to it"):
        after_one_task(method(hold=0.5))
