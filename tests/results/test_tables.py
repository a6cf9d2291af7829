import pytest

from orthotrace.results.tables import latex, number


def test_tables_escape_what_latex_reads():
    table = latex([["a_b", "c%"], ["±", "–"]])
    assert r"a\_b & c\% \\" in table and r"$\pm$ & -- \\" in table


def test_signs_are_minus_and_hyphens_stay():
    table = latex([["a-b", "x"], ["-.131", "[-.2, 3]"], ["<.001", "split-mnist"]])
    assert r"$-$.131 & [$-$.2, 3] \\" in table and r"$<$.001 & split-mnist \\" in table and "a-b" in table


@pytest.mark.parametrize(("value", "text"), [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (0.0, ".000")])
def test_numbers(value, text):
    assert number(value) == text
