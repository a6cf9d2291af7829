import numpy as np
import pytest

from analysis.storage import read_rdms, write_rdms
from orthotrace.errors import UserError


def test_a_round_trip_loses_nothing(tmp_path):
    rdms = {"a": np.random.default_rng(0).uniform(size=45), "b.c": np.arange(3.0)}
    write_rdms(tmp_path / "x.safetensors", rdms, {"measure": "m"})
    back, about = read_rdms(tmp_path / "x.safetensors")
    assert about == {"measure": "m"} and set(back) == set(rdms)
    assert all(np.array_equal(back[name], rdms[name]) for name in rdms)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "x.safetensors"]


def test_damage_is_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"x\.safetensors is damaged"):
        read_rdms(tmp_path / "x.safetensors")
