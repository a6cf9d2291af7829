import matplotlib.pyplot as plt
import pytest

from orthotrace.analysis.figures.capacity import capacity_by_layer


def gauge(features: int, *ranks: int, captured=None) -> dict:
    none = [None] * len(ranks)
    return {
        "features": features, "rank": list(ranks), "captured": captured or none, "exact": none,
        "leak": [1e-8] * len(ranks), "memory_bytes": [4 * rank for rank in ranks],
    }  # fmt: skip


def test_cells_are_means_over_seeds_layers_by_tasks():
    figure, rows = capacity_by_layer(
        {
            "gpm": [{"fc1": gauge(10, 2, 4), "head": gauge(5, 5, 5)}, {"fc1": gauge(10, 4, 8), "head": gauge(5, 5, 5)}],
            "hlop": [{"fc1": gauge(10, 1, 1, captured=[0.5, 0.75]), "head": gauge(5, 0, 1)}],
        }
    )
    first = [row for row in rows if (row["method"], row["layer"]) == ("gpm", "fc1")]
    assert [(row["task"], row["rank"], row["free"], row["seeds"]) for row in first] == [(1, 3, 7, 2), (2, 6, 4, 2)]
    assert [row["captured"] for row in rows if row["method"] == "hlop"] == [0.5, 0.75, None, None]
    assert first[1]["memory_bytes"] == 24 and first[0]["leak"] == pytest.approx(1e-8)
    shown = figure.axes[0].images[0].get_array()
    assert shown.tolist() == [[0.3, 0.6], [1.0, 1.0]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["3", "6", "5", "5"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["fc1", "head"]
    # The layers are the same: the left panel names them.
    assert not figure.axes[1].get_yticklabels()
    plt.close(figure)


def test_ranks_are_whole_numbers():
    seeds = [{"fc1": gauge(10, rank)} for rank in (2, 2, 3)]
    figure, rows = capacity_by_layer({"gpm": seeds})
    assert [text.get_text() for text in figure.axes[0].texts] == ["2"] and rows[0]["rank"] == pytest.approx(7 / 3)
    plt.close(figure)


def test_many_layers_and_tasks_are_not_written_in():
    figure, rows = capacity_by_layer({"gpm": [{f"layer{n}": gauge(9, *range(9)) for n in range(40)}]})
    assert not figure.axes[0].texts and len(rows) == 360
    plt.close(figure)
