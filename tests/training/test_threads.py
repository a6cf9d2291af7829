"""A run keeps to the threads that were asked for."""

from __future__ import annotations

import torch

from orthotrace.training.threads import Threads


def test_threads_that_something_changed_are_set_again():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        Threads(2).setup(None, None, "fit")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
