import pytest
import torch
from tasks import TRAIN, after_one_task, context_of

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.models.all_cnn import AllCNN
from orthotrace.models.mlp import MLP

PROJECTING = {"gpm": GPM, "hlop": HLOP}
INPUTS = TRAIN.inputs()


def ended(method):
    """A network after the first task, and what the method reports."""
    return after_one_task(method, hidden=30)


def test_finetune_protects_nothing_and_keeps_nothing():
    method = Finetune()
    _, outcome = ended(method)
    assert outcome.layers == {} and method.extra_memory_bytes == 0


@pytest.mark.parametrize("name", PROJECTING)
def test_shares_are_those_of_the_inputs(name):
    method = PROJECTING[name](rows=5)
    model, outcome = ended(method)
    inputs = {"fc1": INPUTS.flatten(1), "head": model.relu1(model.fc1(INPUTS.flatten(1))).detach()}
    for layer, rows in inputs.items():
        told, space = outcome.layers[layer], method.guard.subspaces[layer]
        x = rows.double()
        left = x - x @ space.basis.double().T @ space.basis.double()
        assert told.captured == pytest.approx(1 - float(left.square().sum() / rows.double().square().sum()), abs=1e-5)
        values = torch.linalg.svdvals(rows.double()).square()
        assert told.exact == pytest.approx(float(values[:5].sum() / values.sum()), abs=1e-5)
        assert told.capacity.rank == 5 and told.leak == 0


@pytest.mark.parametrize("name", PROJECTING)
def test_the_audit_changes_nothing_and_can_be_left_out(name):
    with_audit, without = PROJECTING[name](rows=5), PROJECTING[name](rows=5, audit=False)
    (_, told), (_, silent) = ended(with_audit), ended(without)
    assert silent.layers["fc1"].captured is None and told.layers["fc1"].captured is not None
    for a, b in zip(with_audit.state_dict().values(), without.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", PROJECTING)
def test_sizes_reach_their_layers(name):
    method = PROJECTING[name](rows={"fc1": [7, 2], "head": 3})
    _, outcome = ended(method)
    assert [layer.capacity.rank for layer in outcome.layers.values()] == [7, 3]
    assert [layer.capacity.features for layer in outcome.layers.values()] == [64, 30]


@pytest.mark.parametrize("name", PROJECTING)
def test_an_optimum_stands_in_place_of_the_energy(name):
    ranks = []
    for options in ({"rank": "optimum"}, {"rank": "optimum", "plasticity": 3.0}):
        _, outcome = ended(PROJECTING[name](energy=1.0, **options))
        ranks.append([layer.capacity.rank for layer in outcome.layers.values()])
    assert all(30 > most > least > 0 for most, least in zip(*ranks, strict=True))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"rows": 40}, "rows: layer 'head': 40 rows, but the layer has 30 features"),
        ({"energy": 2}, "energy: input should be less than or equal to 1"),
        ({"rows": -1}, "rows: input should be greater than or equal to 0"),
        ({"rows": 2, "wrong": 1}, "wrong"),
        ({"rows": 2, "rank": "optimum"}, "rank: give rank or rows, not both"),
        ({"rank": "optimum", "plasticity": -1}, "plasticity: input should be greater than 0"),
    ],
)
@pytest.mark.parametrize("name", PROJECTING)
def test_options_that_cannot_be(name, options, line):
    with pytest.raises((UserError, TypeError)) as error:
        ended(PROJECTING[name](**options))
    assert line in str(error.value)


def test_memory_is_that_of_the_bases_and_the_weights_at_the_start():
    method = GPM(rows=4, audit=False)
    ended(method)
    held = sum(space.basis.numel() for space in method.guard.subspaces.values())
    weights = 65 * 30 + 31 * 10
    assert 4 * (held + weights) <= method.extra_memory_bytes <= 4 * (held + weights) + 200


def test_the_head_of_each_task_is_its_own_where_the_task_is_known():
    stream = Split(digits(), tasks=5, scenario="task")
    model = MLP(stream.shape, 10, hidden=[30])
    method = GPM(rows=4)
    method.setup(model, Seeds(), stream)
    assert method.guard.labels == ["fc1"] and method.guard.head.layer is model.head
    for number in range(2):
        method.enter(context_of(stream, number))
        assert method.guard.outputs == range(2 * number, 2 * number + 2)


def test_the_head_of_an_all_convolutional_network_is_its_last_convolution():
    stream = Split(digits(), tasks=5, scenario="task")
    # Padded to the smallest images that it takes.
    model = torch.nn.Sequential(torch.nn.ZeroPad2d(2), AllCNN((1, 12, 12), 10, width=0.02))
    method = GPM(rows=1)
    method.setup(model, Seeds(), stream)
    assert method.guard.head.layer is model[1].head and "1.head" not in method.guard.labels
    with pytest.raises(UserError, match="no Linear layer has 10 outputs: the heads"):
        GPM(rows=1).setup(AllCNN((1, 12, 12), 3, width=0.02), Seeds(), stream)


def test_heads_that_cannot_be_told_are_refused():
    class Twofold(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(64, 5)

    with pytest.raises(UserError, match="no Linear layer has 10 outputs: the heads"):
        GPM(rows=4).setup(Twofold(), Seeds(), Split(digits(), tasks=5, scenario="task"))


class Unused(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(64, 10)
        self.spare = torch.nn.Linear(10, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_a_layer_that_is_never_called_is_told_before_any_training():
    with pytest.raises(UserError, match="the protected layer 'spare' was not called"):
        GPM(rows=4).setup(Unused(), Seeds(), Permuted(digits()))


def test_normalisation_by_task_needs_to_be_told_the_task():
    with pytest.raises(UserError, match="normalisation: in the domain-incremental scenario nothing tells"):
        GPM(rows=4, normalisation="task").setup(MLP((1, 8, 8), 10), Seeds(), Permuted(digits()))


def test_patches_are_a_budget_of_each_batch():
    from orthotrace.models.convnet import ConvNet

    stream = Permuted(digits())
    for patches, expected in ((7, 7), (None, 32 * 64)):
        method, model = HLOP(rows=2, patches=patches), ConvNet(stream.shape, 10, channels=[3])
        method.setup(model, Seeds(), stream)
        method.begin_task(context_of(stream))
        with method.guard.watching() as seen:
            model(INPUTS[:32])
        assert seen["conv1"][0].shape == (1, expected, 9)


def test_a_penalty_on_the_weights_is_projected_with_the_gradient(tmp_path):
    from composed import built

    from orthotrace.results.run_folder import Run

    run = Run(tmp_path / "run")
    # A leak would warn, and warnings are errors here.
    built(
        run, "method=gpm", "method.rule=gradient", "method.rows=5", "regularizer.l2=.1", "optimizer=sgd",
        "stream=permuted", "stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[12]", "trainer.accelerator=cpu",
    ).run()  # fmt: skip
    assert max(run.scores["leak"]) < 1e-6


class Blind(GPM):
    """Forgets to show its subspaces anything."""

    def learn(self, context):
        pass


class Nothing(GPM):
    """Forgets to return."""

    def subspace(self, features, seed, **options):
        super().subspace(features, seed, **options)


def test_a_method_that_shows_its_subspaces_nothing_is_no_finetuning():
    with pytest.raises(UserError, match="Blind showed its subspaces nothing of task 1: let learn call"):
        ended(Blind(rows=5))


def test_a_method_that_makes_no_subspace_is_told():
    with pytest.raises(UserError, match="Nothing.subspace must return a Subspace \\(got NoneType\\)"):
        ended(Nothing(rows=5))
