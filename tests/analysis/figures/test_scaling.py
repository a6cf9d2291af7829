import matplotlib.pyplot as plt
import numpy as np

from orthotrace.analysis.figures.scaling import rdms_in_a_plane


def test_a_line_for_each_network_through_its_layers():
    points = np.arange(12.0).reshape(6, 2)
    figure, rows = rdms_in_a_plane(points, [("a", "run1"), ("b", "run2")], ["x", "y", "z"], 0.1)
    for markers, of in zip(figure.axes[0].collections, (points[:3], points[3:]), strict=True):
        assert markers.get_offsets().tolist() == of.tolist()
        # They grow along the layers.
        assert (np.diff(markers.get_sizes()) > 0).all()
    lines = [line.get_xydata() for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [line.tolist() for line in lines] == [points[:3].tolist(), points[3:].tolist()]
    assert rows[4] == {"method": "b", "network": "run2", "layer": "y", "x": 8.0, "y": 9.0}
    plt.close(figure)


def test_a_layer_that_a_network_lacks_has_no_point():
    points = np.array([[0.0, 1.0], [np.nan, np.nan], [2.0, 3.0]])
    figure, rows = rdms_in_a_plane(points, [("a", "run1")], ["x", "y", "z"], 0.1)
    lines = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert lines == [[[0.0, 1.0], [2.0, 3.0]]] and [row["layer"] for row in rows] == ["x", "z"]
    plt.close(figure)
