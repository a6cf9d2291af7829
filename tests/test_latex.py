from orthotrace.latex import latex


def test_tables_escape_what_latex_reads():
    table = latex([["a_b", "c%"], ["±", "–"]])
    assert r"a\_b & c\% \\" in table and r"$\pm$ & -- \\" in table
