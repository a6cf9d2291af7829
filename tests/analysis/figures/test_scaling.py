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
