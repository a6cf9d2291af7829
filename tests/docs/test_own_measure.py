"""docs/howto/own_measure.md: its code, run."""

from __future__ import annotations

import numpy as np
import pytest
from pages import blocks

from orthotrace.analysis.similarity import linear_cka


def test_a_measure_of_ones_own_is_short_and_keeps_what_it_declares():
    (code,) = blocks("docs/howto/own_measure.md", "python")
    names: dict = {"np": np}
    exec(code, names)
    names["test_what_rv2_declares"]()
    body = code[code.index("@declare") : code.index("def test_")]
    assert len([line for line in body.split("\n") if line.strip()]) < 15
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 10)), rng.standard_normal((40, 300))
    # Independent representations of many features: the plain RV coefficient, linear CKA, is far from 0.
    assert abs(names["rv2"](x, y)) < 0.1 < 0.4 < linear_cka(x, y) and names["rv2"](x, x) == pytest.approx(1)
