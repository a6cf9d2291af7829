import pytest

from orthotrace.core.errors import UserError
from orthotrace.methods.sizes import FoundRows, sizes

NAMES = ["fc1", "fc2", "head"]

GOOD = [
    ({"energy": 0.9}, [{"energy": 0.9}] * 3),
    ({"energy": [0.9, 0.8, 0.7]}, [{"energy": 0.9}, {"energy": 0.8}, {"energy": 0.7}]),
    ({"energy": {"head": 0.7, "fc1": 0.9, "fc2": 0.8}}, [{"energy": 0.9}, {"energy": 0.8}, {"energy": 0.7}]),
    ({"energy": 0.9, "rows": 5}, [{"rows": 5}] * 3),
    ({"rows": {"fc1": [3, 2], "fc2": 4, "head": 1}}, [{"rows": [3, 2]}, {"rows": 4}, {"rows": 1}]),
]
BAD = [
    ({"energy": [0.9, 0.8]}, "energy: 2 values for 3 protected layers (fc1, fc2, head)"),
    ({"rows": {"fc3": 1}}, "rows: there is no protected layer 'fc3'; did you mean 'fc2'?"),
    ({"rows": {"fc1": 1}}, "rows: says nothing of layer 'fc2'"),
    ({"rows": 1, "rows_from": FoundRows("x", {})}, "rows_from: give rows or rows_from, not both"),
    ({}, "energy: give energy, rows or rows_from"),
]


def call(energy=None, rows=None, rows_from=None):
    return sizes(dict(zip(NAMES, NAMES, strict=True)), energy, rows, rows_from)


@pytest.mark.parametrize(("options", "expected"), GOOD)
def test_sizes(options, expected):
    assert list(call(**options).values()) == expected


@pytest.mark.parametrize(("options", "line"), BAD)
def test_sizes_that_cannot_be(options, line):
    with pytest.raises(UserError) as error:
        call(**options)
    assert str(error.value).startswith(line)


def test_what_is_said_of_a_layer_counts_for_its_groups():
    labels = {"conv[1]": "conv", "conv[2]": "conv", "head": "head"}
    assert sizes(labels, [0.9, 0.8], None, None) == {
        "conv[1]": {"energy": 0.9}, "conv[2]": {"energy": 0.9}, "head": {"energy": 0.8},
    }  # fmt: skip


def test_rows_that_another_run_found():
    found = FoundRows("runs/a", {name: [3, 2, 0] for name in NAMES})
    assert list(call(rows_from=found).values()) == [{"rows": [3, 2, 0]}] * 3
    other = FoundRows("runs/a", {"a": [1], "b": [1]})
    with pytest.raises(UserError, match=r"^rows_from: the layers of runs/a are a, b, here they are fc1, fc2, head"):
        call(rows_from=other)
