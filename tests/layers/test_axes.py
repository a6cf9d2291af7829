import pytest

from orthotrace.core.errors import UserError
from orthotrace.layers.axes import Axes

LAID_OUT = {
    "flat": (["b", "a"], None, {"b": (0,), "a": (1,)}, ("b", "a")),
    "wide": (["b", "a"], {"b": 2}, {"b": (0, 1), "a": (2,)}, ("b 1", "b 2", "a")),
    "inside": (["animal/dog", "car", "animal", "animal/cat"], {"animal": 3}, {"animal/dog": (1,), "car": (0,), "animal": (1, 2, 3), "animal/cat": (2,)}, ("car", "animal/dog", "animal/cat", "animal 1")),
    "deep": (["a", "a/b", "a/b/c"], {"a/b": 2}, {"a": (0, 1), "a/b": (0, 1), "a/b/c": (0,)}, ("a/b/c", "a/b 1")),
    "inside nothing that is named": (["x/a", "x/b"], None, {"x/a": (0,), "x/b": (1,)}, ("x/a", "x/b")),
}  # fmt: skip


@pytest.mark.parametrize("case", LAID_OUT)
def test_laid_out(case):
    names, sizes, of, labels = LAID_OUT[case]
    axes = Axes.laid_out(names, sizes)
    assert (dict(axes.of), axes.labels, axes.names) == (of, labels, tuple(names))


REFUSED = {
    "none": ([], None, "name one concept"),
    "twice": (["a", "b", "a"], None, "two concepts 'a'"),
    "unknown size": (["thick"], {"thik": 2}, "did you mean 'thick'"),
    "too few": (["a", "a/b", "a/c"], {"a": 1}, r"concept 'a' needs 2 axes \(got 1\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    names, sizes, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        Axes.laid_out(names, sizes)
