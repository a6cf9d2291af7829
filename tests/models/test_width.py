import pytest

from orthotrace.models.width import scaled


@pytest.mark.parametrize(("units", "width", "expected"), [(64, 1.0, 64), (64, 0.5, 32), (3, 0.1, 1), (10, 2.5, 25)])
def test_widths(units, width, expected):
    assert scaled(units, width) == expected
