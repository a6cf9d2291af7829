import numpy as np
import pytest

from orthotrace.analysis.figures.second_level import second_level
from orthotrace.core.errors import UserError

NETWORKS = [("gpm", "seed 0"), ("gpm", "seed 1"), ("er", "seed 0")]
VALUES = np.corrcoef(np.random.default_rng(0).random((6, 20)))


def test_layers_are_blocks_and_groups_are_parted():
    values = VALUES.copy()
    values[0, 5] = values[5, 0] = np.nan
    figure, rows = second_level(values, NETWORKS, ["relu1", "head"])
    axes = figure.axes[0]
    assert np.allclose(axes.images[0].get_array().filled(9), np.nan_to_num(values, nan=9))
    assert axes.get_xticks().tolist() == [1, 4] and axes.images[0].norm.vmin == values[np.isfinite(values)].min()
    # Between layers, and between groups within them, each way.
    assert sorted({line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1}) == [1.5, 2.5, 4.5]
    assert len(rows) == 15 and rows[4]["value"] is None and rows[4]["other_layer"] == "head"
    assert rows[2]["value"] == VALUES[0, 3] and rows[2]["other_network"] == "seed 0"


def test_another_number_of_values():
    with pytest.raises(UserError, match=r"3 networks of 1 layers: \(3, 3\) is needed, got \(6, 6\)"):
        second_level(VALUES, NETWORKS, ["relu1"])
