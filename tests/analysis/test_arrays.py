"""Every array of every public function of analysis: used rightly, or refused in one line."""

import importlib
import inspect
import os
import pkgutil
import warnings

import array_calls
import numpy as np
import pandas as pd
import pytest
import torch
from array_calls import differs, flat
from array_cases import CASES
from array_draws import Draw
from array_kinds import MISSING, REFUSED, ROUNDED, SAME
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orthotrace.analysis import inference, rdm, similarity
from orthotrace.analysis.concepts.roc import auc
from orthotrace.analysis.rdm import compare, mds, noise
from orthotrace.analysis.rdm.categories import centroids
from orthotrace.core.errors import UserError

EXAMPLES = int(os.environ.get("ORTHOTRACE_ARRAY_CALLS", "200"))
PACKAGES = ("rdm", "similarity", "inference", "studies", "concepts")
# What takes no arrays of users: behind the gate, or of runs and files. By module or function.
INSIDE = {
    "rdm.arguments", "rdm.arrays", "rdm.channels", "rdm.correlate", "rdm.kernels", "rdm.memory", "rdm.patterns", "rdm.pieces", "rdm.precisions",
    "rdm.products", "rdm.rounding", "rdm.stacks", "rdm.undefined",
    "rdm.rdms.check_comparable", "rdm.triangles.checked_triangle", "rdm.triangles.places_of", "rdm.triangles.put", "rdm.triangles.ranks", "rdm.triangles.start_of",
    "rdm.stored.StoredRdm", "rdm.stored.StoredStack", "rdm.stored.StoredByName", "rdm.stored.some",
    "rdm.stored.stacked", "rdm.stored.together",
    "rdm.triangles.stimuli_of", "similarity.all_pairs.by_vectors", "similarity.all_pairs.cosine_of", "similarity.all_pairs.VectorCosine", "similarity.invariances", "similarity.pairs", "inference.resampling",
    "inference.permuted", "inference.samplers", "inference.ceilings.above_chance", "inference.ceilings.bounds", "inference.ceilings.check_ceiling", "inference.ceilings.Ceiling",
    "inference.ceilings.compared", "inference.ceilings.constant", "inference.ceilings.pooled", "inference.ceilings.warning",
    "inference.groups.GroupDifference", "inference.groups.GroupInterval", "studies.rdm_drift",
    "inference.models.as_models", "inference.significance.Evaluation",
    "inference.significance.ModelComparison", "studies.between", "studies.degeneracy", "studies.dropout", "studies.factors", "studies.findings", "studies.forgetting", "studies.group_names", "studies.readouts", "studies.references", "studies.similarities",
    "studies.consistency.PairMean", "studies.readout.LinearReadout", "studies.readout.ReadoutDiagnosis",
    "studies.readout.DriftSplit", "studies.consistency.bootstrap_means", "studies.consistency.check_interval", "studies.consistency.comparable", "studies.consistency.jackknife_error",
    "inference.partial.standardised", "inference.partition.VariancePartition", "inference.variance.VarianceComponents", "inference.variance.check_factors",
    "similarity.weights.WeightDistance",
    "concepts.study", "concepts.images", "concepts.layer_outputs", "concepts.roc.AUC", "concepts.roc.Difference",
    "concepts.roc.components", "concepts.axes.Separability", "concepts.drift.Drift", "concepts.importance.Importance",
    "concepts.purity.ConceptFeatures", "concepts.purity.Purity",
}  # fmt: skip


# Dear calls that check their arrays as others of their module do: every third kind, in make test-whole all.
DEAR = {
    "concepts.purity.linear_probe", "concepts.purity.concept_vector", "concepts.purity.best_filter",
    "concepts.roc.auc_difference", "inference.evaluation.bootstrap", "rdm.compare.tau_a", "rdm.compare.tau_b",
    "studies.readout.diagnose_readout", "studies.readout.fitted_readout",
}  # fmt: skip


def public() -> set[str]:
    found = {"rdm.rdms.RDMs.of", "networks.activations.activations"}
    for package in PACKAGES:
        whole = importlib.import_module(f"orthotrace.analysis.{package}")
        for name in (one.name for one in pkgutil.iter_modules(whole.__path__)):
            module = importlib.import_module(f"{whole.__name__}.{name}")
            for key, thing in vars(module).items():
                own = getattr(thing, "__module__", "") == module.__name__
                if own and not key.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)):
                    found.add(f"{package}.{name}.{key}")
    return found


def name_of(full: str) -> str:
    package, _, rest = full.partition(".")
    return f"{package}.{rest.rpartition('.')[2]}" if package == "similarity" else full


def test_every_public_function_has_its_case():
    inside = {one for one in public() if one in INSIDE or one.rpartition(".")[0] in INSIDE}
    # A second way to call one is named in brackets.
    assert {name_of(one) for one in public() - inside} == {name.partition(" (")[0] for name in CASES}
    assert {name.partition(" (")[0] for name in CASES} <= set(CASES)
    modules = {one.rpartition(".")[0] for one in public()}
    assert all(one in public() or one in modules for one in INSIDE)
    for package in (rdm, similarity):
        exported = {one for one in package.__all__ if callable(getattr(package, one))} - {"check", "declare"}
        assert exported <= {one.rpartition(".")[2] for one in CASES}


def answer(name, arrays):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # scikit-learn's, of few images.
        warnings.simplefilter("ignore")
        return flat(CASES[name].of(CASES[name].call(**arrays)))


def made(make, array):
    with warnings.catch_warnings():
        # Of what is made, such as a matrix of numpy; the call itself must not warn.
        warnings.simplefilter("ignore")
        return make(array)


def one_line(name, arrays, key, kind):
    try:
        found = answer(name, arrays)
    except UserError as error:
        line = str(error)
    else:
        return found
    assert line and "\n" not in line and len(line) < 400, (kind, key)
    return None


THIRDS = [name for name in CASES if name in DEAR or "(" in name]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(pytest.param(name, 3 if name in THIRDS else 1, id=name) for name in CASES),
        *(pytest.param(name, 1, id=f"{name}, all", marks=pytest.mark.whole) for name in THIRDS),
    ],
)
def test_every_kind_of_array(name, step):
    case = CASES[name]
    plain = case.make(Draw(0, plain=True))
    same, rounds, refused, missing = (dict(list(kinds.items())[::step]) for kinds in (SAME, ROUNDED, REFUSED, MISSING))
    right = answer(name, plain)
    with np.errstate(all="ignore"):
        expected = case.oracle(**plain)
    if expected is not None:
        assert not differs(right, flat(expected), case.tolerance, case.undefined, array_calls.beside(case, plain))
    for key, array in plain.items():
        for kind, make in same.items():
            assert not differs(answer(name, {**plain, key: made(make, array)}), right, 1e-12, case.undefined), (
                kind,
                key,
            )
        for kind, make in rounds.items():
            rounded = made(make, array)
            values = rounded.double().numpy() if isinstance(rounded, torch.Tensor) else np.asarray(rounded, dtype=float)
            wanted = one_line(name, {**plain, key: values}, key, kind)
            found = one_line(name, {**plain, key: rounded}, key, kind)
            assert (wanted is None) == (found is None), (kind, key)
            if wanted is not None:
                assert not differs(found, wanted, 1e-12, case.undefined), (kind, key)
        for kind, make in refused.items():
            if kind == "nothing" and (name.startswith("rdm.compare") and key == "others"):
                # None stands for the first stack.
                continue
            assert one_line(name, {**plain, key: made(make, array)}, key, kind) is None, (kind, key)
        for kind, make in missing.items():
            found = one_line(name, {**plain, key: made(make, array)}, key, kind)
            if not case.missing:
                assert found is None, (kind, key)
            elif found is not None:
                assert not differs(found, answer(name, {**plain, key: MISSING["NaN"](array)}), 0, True), (kind, key)


@settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 2**32 - 1))
def test_generated_calls_are_right_or_refused(name, seed):
    kind, why = array_calls.outcome(name, seed)
    assert kind in ("right", "refused"), why


def test_missing_entries_of_all_rdms_are_left_out_whatever_says_so():
    stack = np.abs(np.random.default_rng(0).standard_normal((3, 10)))
    holes = np.arange(10) == 4
    right = compare.pearson(stack[:, ~holes])
    missing = np.where(holes, np.nan, stack)
    for one in (missing, np.ma.array(stack, mask=np.tile(holes, (3, 1))), pd.DataFrame(missing).astype("Float64")):
        assert np.allclose(compare.pearson(one), right, atol=1e-12)
        assert np.isnan(rdm.RDMs(one).dissimilarities[:, 4]).all()


X = np.random.default_rng(1).standard_normal((6, 3))
NAMES = list("abcdef")
SHUFFLED = [3, 1, 2, 0, 4, 5]
PAIRED = {
    "similarity": lambda a, b: similarity.linear_cka(a, b),
    "aligned": lambda a, b: mds.aligned(a, b),
    "centroids": lambda a, b: centroids(a, (b.iloc[:, 0] > 0).astype(int) + (b.iloc[:, 1] > 0)),
    "crossnobis": lambda a, b: rdm.crossnobis(
        a, pd.Series([0, 1, 2] * 2, b.index), pd.Series([0] * 3 + [1] * 3, b.index)
    ),
    "areas": lambda a, b: auc(a, pd.Series([0, 1] * 3, b.index)),
    "RDMs": lambda a, b: rdm.RDMs.of([a, b]),
}


@pytest.mark.parametrize("call", PAIRED.values(), ids=PAIRED)
@pytest.mark.parametrize("index", [NAMES, list(range(6))], ids=["names", "counted"])
def test_frames_whose_rows_are_in_another_order_are_refused(call, index):
    one = pd.DataFrame(X, index=index)
    call(one, one)
    with pytest.raises(UserError, match="its index is not that of"):
        call(one, one.iloc[SHUFFLED])


def test_the_index_of_a_frame_describes_the_stimuli():
    found = rdm.RDMs.of(pd.DataFrame(X, index=pd.Index(NAMES, name="word")))
    assert found.pattern_descriptors["word"].tolist() == NAMES
    assert not rdm.RDMs.of(pd.DataFrame(X)).pattern_descriptors
    with pytest.raises(UserError, match="'word' of stimulus 0 is a and d"):
        compare.pearson(found, rdm.RDMs.of(pd.DataFrame(X, index=pd.Index(NAMES, name="word")).iloc[SHUFFLED]))
    stack = pd.DataFrame(found.dissimilarities)
    with pytest.raises(UserError, match="its index is not that of rdms"):
        compare.pearson(stack, stack.iloc[:, ::-1])


class Sets(Draw):
    """Remembers which arrays are RDMs."""

    def __init__(self):
        super().__init__(0, plain=True)
        self.stacks = []

    def stack(self, k, n=None):
        self.stacks.append(super().stack(k, n))
        return self.stacks[-1]


def sets_of(name):
    """The sets of RDMs that a function takes, by argument."""
    draw = Sets()
    given = CASES[name].make(draw)
    return {key: one for key, one in given.items() if any(np.shares_memory(one, rdms) for rdms in draw.stacks)}


def of_two(name):
    """Its calls with two sets of RDMs; evaluated models are two sets beside the data."""
    given, call = sets_of(name), CASES[name].call
    yield given, call
    if "models" in given:
        data = given["rdms"]
        two = {"first": given["models"], "second": given["models"] ** 2}
        function = getattr(inference, name.rpartition(".")[2])
        yield two, lambda first, second: function({"first": first, "second": second}, data)


SETS = [name for name in CASES if len(sets_of(name)) > 1]


def names_of(name):
    return [chr(97 + i) for i in range(rdm.RDMs(next(iter(sets_of(name).values()))).stimuli)]


def labelled(values, names):
    stimuli = len(names)
    pairs = [f"{names[i]}{names[j]}" for i in range(stimuli) for j in range(i + 1, stimuli)]
    if values.ndim == 1:
        return pd.Series(values, index=pairs)
    return pd.DataFrame(values, columns=pairs)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("what", ["order", "names", "digest", "measure"])
def test_two_sets_of_rdms_of_other_stimuli_are_refused(name, what):
    names = names_of(name)
    said = ("euclidean", {"word": names}, {}, {"stimuli": "abc"})
    others = {
        "order": ("euclidean", {"word": names[::-1]}), "names": ("euclidean", {"word": [*names[1:], "z"]}),
        "digest": ("euclidean", {}, {}, {"stimuli": "abd"}), "measure": ("correlation", {"word": names}),
    }[what]  # fmt: skip
    for arrays, call in of_two(name):
        call(**{key: rdm.RDMs(one, *said) for key, one in arrays.items()})
        for place in (0, 1):
            told = {
                key: rdm.RDMs(one, *(others if at == place else said)) for at, (key, one) in enumerate(arrays.items())
            }
            if what == "measure" and name.startswith("inference.evaluation"):
                # Models may be of any measure.
                call(**told)
                continue
            with pytest.raises(UserError, match="of other stimuli, or in another order|make both by one measure"):
                call(**told)


@pytest.mark.parametrize("name", [name for name in SETS if name != "rdm.rdms.joined"])
def test_two_frames_of_rdms_of_other_pairs_are_refused(name):
    for arrays, call in of_two(name):
        names = names_of(name)
        frames = {key: labelled(one, names) for key, one in arrays.items()}
        call(**frames)
        second, other = list(arrays.items())[1]
        for told in (names[::-1], [*names[1:], "z"]):
            with pytest.raises(UserError, match="its index is not that of"):
                call(**{**frames, second: labelled(other, told)})


def test_the_functions_that_take_two_sets_of_rdms():
    """Those that compare, and what compares with them: none fell out of the cases above."""
    assert {name for name in CASES if name.startswith("rdm.compare") and "(" not in name} <= set(SETS)
    assert {name.rpartition(".")[2] for name in SETS if not name.startswith("rdm.compare")} == {
        "joined", "evaluate", "bootstrap", "group_interval", "group_test", "permutation_test", "layer_similarities",
        "partial", "semi_partial", "variance_partition",
    }  # fmt: skip


def test_rdms_that_join_agree_with_each_other_too():
    first = rdm.RDMs(np.arange(6.0))
    a, b = (rdm.RDMs(np.arange(6.0), None, {"word": list(names)}) for names in ("abcd", "dcba"))
    with pytest.raises(UserError, match="'word' of stimulus 0 is a and d"):
        rdm.rdms.joined([first, a, b])


LABELS = {
    "masked": np.ma.array([0, 1, 2] * 2, mask=[1, 0, 0] * 2), "None": [0, 1, None] * 2, "NaN": [0.0, 1.0, np.nan] * 2,
    "ragged": [[0], [1, 2], [0], [1], [2], [2]], "short": [0, 1, 2],
    "NA": pd.Series([0, 1, None] * 2, dtype="Int64"),
}  # fmt: skip


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_that_are_refused(labels):
    with pytest.raises(UserError):
        centroids(X, labels)
    with pytest.raises(UserError):
        rdm.crossnobis(X, labels, [0] * 3 + [1] * 3)


SMALL = {
    "iterations": lambda: mds.smacof(np.ones((3, 3)) - np.eye(3), iterations=0),
    "dimensions": lambda: mds.classical(np.ones((3, 3)) - np.eye(3), dimensions=0),
    "tolerance": lambda: mds.smacof(np.ones((3, 3)) - np.eye(3), tolerance=float("nan")),
    "seed": lambda: mds.smacof(np.ones((3, 3)) - np.eye(3), seed=-1),
    "block": lambda: rdm.correlation(X, block=0),
    "degrees": lambda: noise.covariance(X, degrees=0),
    "shrinkage": lambda: noise.covariance(X, shrinkage=None),
    "variance": lambda: similarity.svcca(X, X, variance=float("nan")),
    "fraction": lambda: similarity.rbf_cka(X, X, fraction=float("inf")),
    "neighbours": lambda: similarity.knn_jaccard(X, X, neighbours=1.5),
    "batch": lambda: similarity.minibatch_cka(X, X, batch=3),
    "estimator": lambda: similarity.hsic(np.eye(5), np.eye(5), estimator=[]),
}


@pytest.mark.parametrize("name", SMALL)
def test_arguments_that_leave_nothing_are_named(name):
    with pytest.raises(UserError, match=name if name not in ("seed",) else "at least 0"):
        SMALL[name]()
