from __future__ import annotations

import math

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import cognitive
from orthotrace.data.sources.cognitive import NAMES


@pytest.fixture(scope="module")
def source():
    return cognitive(trials=60, test_trials=20, noise=0.0)


@pytest.mark.parametrize("number", range(4))
def test_a_trial_is_that_of_its_task(source, number):
    """Every trial read back from its inputs and targets alone, in steps of 20 ms."""
    part = source.train.take((source.train.tasks == number).nonzero().flatten())
    assert len(part) == 60
    for x, y in zip(part.inputs(), part.labels, strict=True):
        shown = x[:, 1:5].abs().sum(1) > 0
        start, stop = int(shown.nonzero()[0]), int(shown.nonzero()[-1]) + 1
        fixates = int(x[:, 0].sum())
        assert 15 <= start <= 35 and bool(shown[start:stop].all())
        # In one modality, a unit vector.
        modality = int(x[start, 3:5].abs().sum() > 0)
        seen = x[start, 1 + 2 * modality : 3 + 2 * modality]
        assert float(x[:, 3 - 2 * modality : 5 - 2 * modality].abs().sum()) == 0 and abs(float(seen.norm()) - 1) < 1e-6
        if NAMES[number].startswith("delayed"):
            assert round((stop - start) * 0.02, 1) in (0.2, 0.4, 0.6)
            assert any(abs((fixates - stop) * 20 - delay) <= 20 for delay in (200, 400, 800, 1600))
        else:
            # It stays until the answer has been given.
            assert 24 <= fixates - start <= 76 and abs(stop - fixates - 25) <= 1
        assert torch.equal(y[0], x[:, 0]) and not bool(y[1:3, :fixates].any())
        answer = y[1:3, fixates]
        assert torch.allclose(answer, -seen if NAMES[number].endswith("anti") else seen, atol=1e-5)
        rule = x[:, 5:]
        assert bool((rule.sum(0) > 0)[number]) and int((rule.sum(0) > 0).sum()) == 1
        weights = y[3]
        assert set(weights.tolist()) == {0.0, 1.0, 25.0}
        assert not weights[:5].any() and bool((weights[5:fixates] == 1).all())
        assert not weights[fixates : fixates + 4].any() and abs(int((weights == 25).sum()) - 20) <= 1


def test_directions_and_modalities_are_even():
    part = cognitive(["go"], trials=2000, test_trials=1).train
    angle = torch.atan2(part.labels[:, 2].sum(1), part.labels[:, 1].sum(1))
    quarters = torch.bincount(((angle + math.pi) / (math.pi / 2)).long().clamp(max=3), minlength=4)
    assert int((quarters - 500).abs().max()) < 80


def test_the_noise_of_the_inputs():
    plain, noisy = (cognitive(["anti"], trials=50, test_trials=1, noise=noise).train for noise in (0.0, 0.1))
    # Beside the noise nothing changes.
    assert torch.equal(plain.labels, noisy.labels)
    assert float((noisy.images - plain.images).std()) == pytest.approx(0.1 * (2 / 0.2) ** 0.5, rel=0.02)


def test_test_trials_do_not_depend_on_what_is_trained_on():
    one, other = cognitive(trials=5, test_trials=6), cognitive(trials=9, test_trials=6)
    assert one.test.digest() == other.test.digest() and one.train.digest() != other.train.digest()
    few = cognitive(trials=5, test_trials=6, limit=5)
    assert few.train.digest() == one.train.digest() and len(few.test) == 4 * 5
    assert cognitive(trials=5, test_trials=6, seed=1).test.digest() != one.test.digest()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tasks": ["go", "go"]}, "tasks: names each task once"),
        ({"tasks": []}, "tasks: names each task once"),
        ({"tasks": ["stop"]}, "tasks: input should be 'go', 'anti'"),
        ({"trials": 0}, "trials"),
        ({"dt": 0}, "dt"),
        ({"noise": -1}, "noise"),
    ],
)
def test_what_cannot_be(options, named):
    with pytest.raises(UserError) as refused:
        cognitive(**options)
    assert str(refused.value).startswith(named)
