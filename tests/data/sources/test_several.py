import pytest
from images import write_tables

from orthotrace.core.errors import UserError
from orthotrace.data.sources import several


def test_each_has_its_name_and_folder(tmp_path):
    for number, name in enumerate(("one", "two"), start=2):
        write_tables(tmp_path / name, number, 3, side=8 * number, colours=name == "two")
    options = {"one": {"size": 8, "channels": 3}, "two": {"size": 8, "channels": 3}}
    sources = several(options, str(tmp_path))
    assert [(source.name, source.shape, len(source.classes)) for source in sources] == [
        ("one", (3, 8, 8), 2),
        ("two", (3, 8, 8), 3),
    ]
    with pytest.raises(UserError, match=r"sources: images of two have the shape \(3, 24, 24\), those of one"):
        several({"one": {}, "two": {}}, str(tmp_path))
    with pytest.raises(UserError, match=r"sources.three.path: there is no folder"):
        several({"one": {}, "three": {}}, str(tmp_path))
    with pytest.raises(UserError, match="no data set is given"):
        several({}, str(tmp_path))
