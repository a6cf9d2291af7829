"""Work in pieces: in order, whichever ends first, by one thread each, and without a trace afterwards."""

import threading
import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from orthotrace.analysis import rdm
from orthotrace.analysis.rdm import compare, pieces


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """As on a machine that has them; what torch was told stays."""
    before = torch.get_num_threads()
    monkeypatch.setattr(pieces, "threads", torch.get_num_threads)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_whichever_ends_first():
    def work(number):
        time.sleep(0.02 * (number == 0))
        return number

    assert list(pieces.ordered(work, 7)) == list(range(7))
    assert list(pieces.ordered(work, 0)) == []


def test_pieces_are_done_at_the_same_time_and_few_wait():
    together, most = threading.Barrier(2, timeout=5), []
    begun = []

    def work(number):
        begun.append(number)
        # Passed by two at once alone.
        together.wait()
        return number

    for number in pieces.ordered(work, 8):
        most.append(len(begun) - number)
    assert max(most) <= 4


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("number", [1, 2])
def test_each_piece_has_one_thread_and_the_rest_is_as_it_was(number, count):
    torch.set_num_threads(number)
    before = {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    def work(_):
        return torch.get_num_threads(), [
            one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas" and one["filepath"] in before
        ]

    found = list(pieces.ordered(work, count))
    assert all(own == 1 and set(others) <= {1} for own, others in found)
    assert torch.get_num_threads() == number
    assert before == {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["filepath"] in before}


def test_an_error_ends_the_rest():
    begun = []

    def work(number):
        begun.append(number)
        if number == 1:
            raise ValueError("this one")
        return number

    with pytest.raises(ValueError, match="this one"):
        pieces.each(work, 1000)
    assert len(begun) < 10 and torch.get_num_threads() == 2


def blas():
    return {one["filepath"]: one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_what_is_open_at_once_may_end_in_any_order():
    with threadpool_limits(2, user_api="blas"):
        list(pieces.ordered(str, 1))
        before = blas()
        first, second = pieces.ordered(str, 5), pieces.ordered(str, 5)
        next(first), next(second)
        first.close()
        assert torch.get_num_threads() == 1
        second.close()
        assert torch.get_num_threads() == 2 and blas() == before
        started, goes_on = threading.Event(), threading.Event()

        def work(_):
            started.set()
            assert goes_on.wait(5)

        thread = threading.Thread(target=lambda: pieces.each(work, 1))
        thread.start()
        assert started.wait(5)
        one = pieces.ordered(str, 3)
        next(one)
        goes_on.set()
        thread.join()
        one.close()
        assert torch.get_num_threads() == 2 and blas() == before


@pytest.mark.parametrize(
    ("text", "processors"),
    [("max 100000", 1 << 20), ("150000 100000", 2), ("50000 100000", 1), ("400000 100000\n", 4), ("", 1 << 20)],
)
def test_the_quota_of_a_container_counts(tmp_path, text, processors):
    (tmp_path / "cpu.max").write_text(text)
    assert pieces.quota(tmp_path / "cpu.max") == processors
    assert pieces.quota(tmp_path / "none") == 1 << 20


G = np.random.default_rng(0)
WIDE = G.standard_normal((60, 9000))
STACK = np.abs(G.standard_normal((5, 400 * 399 // 2)))
RESULTS = {
    **{f"{name}, {dtype}": (measure, WIDE.astype(dtype)) for name, measure in rdm.dissimilarity.MEASURES.items()
       for dtype in ("float32", "float64")},
    "a correlation in float32": (rdm.correlation, G.standard_normal((300, 15000), dtype=np.float32)),
    "distances in float32": (rdm.squared_euclidean, G.standard_normal((300, 15000), dtype=np.float32)),
    **{name: (method, STACK) for name, method in compare.METHODS.items() if name not in ("tau_a", "tau_b", "bures")},
}  # fmt: skip


@pytest.mark.parametrize("case", RESULTS)
def test_bits_do_not_depend_on_the_number_of_threads(case):
    function, values = RESULTS[case]
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        with threadpool_limits(number, user_api="blas"):
            found.append(function(values))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
