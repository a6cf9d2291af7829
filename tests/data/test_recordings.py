import itertools
import sys
import types

import h5py
import numpy as np
import pytest

from orthotrace.core.errors import UserError
from orthotrace.data.recordings import FIELDS, Recording, read_recording

EVENTS = {"x": [3, 1, 0, 2], "y": [0, 2, 1, 1], "t": [10, 20, 20, 49], "p": [1, 0, 1, 0]}


def random(count, seed=0):
    rng = np.random.default_rng(seed)
    high = {"x": 7, "y": 5, "t": 10_000, "p": 2}
    return Recording.of(**{name: rng.integers(0, high[name], count) for name in FIELDS})


def naive(recording, steps, size, windows):
    found = np.zeros((steps, 2, *size), int)
    for number, (x, y, t, p) in enumerate(zip(*(getattr(recording, name) for name in FIELDS), strict=True)):
        if windows == "time":
            length = (recording.t[-1] - recording.t[0] + 1) / steps
            step = next(step for step in range(steps) if t - recording.t[0] < (step + 1) * length)
        else:
            step = next(step for step in range(steps) if number < (step + 1) * len(recording.t) / steps)
        found[step, p, y, x] += 1
    return found.reshape(-1, *size)


@pytest.mark.parametrize("windows", ["time", "count"])
@pytest.mark.parametrize(("count", "steps"), [(1, 1), (1, 4), (3, 5), (100, 1), (400, 7)])
def test_every_event_is_in_one_frame(windows, count, steps):
    recording = random(count)
    found = recording.frames(steps, (5, 7), windows)
    assert found.shape == (2 * steps, 5, 7) and found.dtype == np.uint8 and found.sum() == count
    assert (found == naive(recording, steps, (5, 7), windows)).all()
    if windows == "count":
        each = found.reshape(steps, -1).sum(axis=1)
        assert each.max() - each.min() <= 1


def test_all_at_one_time():
    recording = Recording.of([0, 1], [0, 0], [5, 5], [1, 1])
    assert recording.frames(3, (1, 2))[:2].sum() == 2


def test_more_than_a_byte_holds_stays_the_most():
    recording = Recording.of(*np.zeros((3, 300), int), np.ones(300, int))
    assert recording.frames(1, (1, 1)).ravel().tolist() == [0, 255]


def test_events_come_in_the_order_of_their_times_and_polarities_are_0_and_1():
    recording = Recording.of([1, 2, 3], [0, 0, 0], [9, 4, 4], [1, -1, -1])
    assert recording.x.tolist() == [2, 3, 1] and recording.p.tolist() == [0, 0, 1] and recording.size == (1, 4)


def structured(path):
    found = np.zeros(4, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
    for name, values in EVENTS.items():
        found[name] = values
    np.save(path, found)


def archive(path):
    np.savez(path, **{name: np.array(values) for name, values in EVENTS.items()})


def hdf5(path, group="events"):
    with h5py.File(path, "w") as file:
        for name, values in EVENTS.items():
            (file.create_group(group) if group and group not in file else file[group] if group else file)[name] = values


def nmnist(path):
    rows = [
        [x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255]
        for x, y, t, p in zip(*(EVENTS[name] for name in FIELDS), strict=True)
    ]
    path.write_bytes(np.array(rows, np.uint8).tobytes())


WRITTEN = {
    "a.npy": structured,
    "a.npz": archive,
    "a.h5": hdf5,
    "b.HDF5": lambda path: hdf5(path, ""),
    "a.bin": nmnist,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_formats(tmp_path, name):
    WRITTEN[name](tmp_path / name)
    found = read_recording(tmp_path / name)
    assert {field: getattr(found, field).tolist() for field in FIELDS} == EVENTS


def test_the_clock_of_nmnist_turns_over(tmp_path):
    rows = [[1, 2, 0, 0, 9], [0, 240, 0, 0, 0], [3, 4, 128, 1, 0], [0, 240, 0, 0, 0], [5, 6, 127, 255, 255]]
    (tmp_path / "a.bin").write_bytes(np.array(rows, np.uint8).tobytes())
    found = read_recording(tmp_path / "a.bin")
    assert found.t.tolist() == [9, 256 + 8192, 2**23 - 1 + 2 * 8192] and found.y.tolist() == [2, 4, 6]
    assert found.p.tolist() == [0, 1, 0]


@pytest.fixture
def tonic(monkeypatch):
    """What stands for tonic.io, whose functions give these events."""
    events = np.zeros(2, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
    events["x"], events["t"] = [7, 8], [1, 2]
    module = types.ModuleType("tonic.io")
    monkeypatch.setattr(module, "read_dvs_128", lambda path: ((128, 128), events), raising=False)
    monkeypatch.setattr(module, "read_davis_346", lambda path: ((346, 260), None, events), raising=False)
    monkeypatch.setitem(sys.modules, "tonic", types.ModuleType("tonic"))
    monkeypatch.setitem(sys.modules, "tonic.io", module)


HEADER = b"#!AER-DAT2.0\r\n# a comment\r\n"


@pytest.mark.parametrize("camera", ["dvs_128", "davis_346"])
@pytest.mark.parametrize("content", [HEADER + bytes(16), HEADER + b"#" + bytes(15), b"#!AER-DAT3.1\r\n" + bytes(99)])
def test_tonic_reads_aedat(tonic, tmp_path, camera, content):
    (tmp_path / "a.aedat").write_bytes(content)
    assert read_recording(tmp_path / "a.aedat", camera).x.tolist() == [7, 8]
    with pytest.raises(UserError, match=r"camera: .*a\.aedat: the camera of \.aedat files must be told"):
        read_recording(tmp_path / "a.aedat")


@pytest.mark.parametrize(
    ("content", "count"), [(bytes(24), "3"), (b"#" + bytes(6) + b"\n" + bytes(16), "3"), (bytes(20), "2.5")]
)
def test_events_that_are_taken_for_the_header_are_missed(tonic, tmp_path, content, count):
    (tmp_path / "a.aedat").write_bytes(HEADER + content)
    with pytest.raises(UserError, match=f"tonic reads 2 events where there are {count}: write it as .npz"):
        read_recording(tmp_path / "a.aedat", "dvs_128")


def test_without_tonic(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.io", None)
    with pytest.raises(UserError, match="AEDAT files need the package tonic: pip install tonic"):
        read_recording(tmp_path / "a.aedat", "dvs_128")


def plain(path):
    np.save(path, np.zeros((3, 4)))


def lacking(path):
    np.savez(path, x=[1], y=[1], t=[1])


def cut(path, write=archive):
    write(path)
    path.write_bytes(path.read_bytes()[:-60])


def pickled(path):
    np.save(path, np.array([{"x": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "write", "line"),
    [
        ("a.npy", plain, "a structured array with the fields x, y, t and p is needed"),
        ("a.npz", lacking, "there is no array p"),
        ("a.npy", pickled, "cannot be read"),
        ("a.h5", lambda path: path.write_bytes(b"no"), "cannot be read"),
        ("a.npz", lambda path: path.write_bytes(b"no"), "cannot be read"),
        ("a.npz", cut, "cannot be read"),
        ("a.h5", lambda path: cut(path, hdf5), "cannot be read"),
        ("a.npy", lambda path: path.write_bytes(b""), "cannot be read"),
        ("a.npy", lambda path: None, r"cannot be read: \[Errno 2\] No such file"),
        ("a.bin", lambda path: path.write_bytes(b"1234567"), "7 bytes are no whole number of events"),
        ("a.bin", lambda path: path.write_bytes(b""), "there are no events"),
    ],
)
def test_files_that_are_none(tmp_path, name, write, line):
    write(tmp_path / name)
    with pytest.raises(UserError, match=line) as error:
        read_recording(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        ("x", [-1, 0, 0, 0], "x has values out of 0 to 4095"),
        ("y", [0, 0, 0, 5000], "y has values out of 0 to 4095"),
        ("t", [0.5, 1, 2, 3], "t has values that are no whole numbers"),
        ("t", [np.nan, 1, 2, 3], "t has values that are no whole numbers"),
        ("p", [0, 1, 2, 0], "p has values other than 0 and 1"),
        ("p", [0, 1], "p has the shape"),
        ("x", [[0], [0], [0], [0]], "one number for each event"),
    ],
)
def test_events_that_are_none(name, values, line):
    with pytest.raises(UserError, match=line):
        Recording.of(**{**EVENTS, name: values})


def test_windows_do_not_depend_on_where_time_begins():
    recording = random(50)
    later = Recording.of(recording.x, recording.y, recording.t - 10**9, recording.p)
    for steps, windows in itertools.product((1, 3), ("time", "count")):
        assert (later.frames(steps, (5, 7), windows) == recording.frames(steps, (5, 7), windows)).all()


def test_events_of_one_time_keep_their_order():
    x, t = np.random.default_rng(0).permutation(2000), np.arange(2000) % 3
    assert (Recording.of(x, 0 * x, t, 0 * x).x == np.concatenate([x[t == time] for time in range(3)])).all()
