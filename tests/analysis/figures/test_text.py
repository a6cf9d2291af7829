import pytest

from orthotrace.analysis.figures.text import filled, shown, wrapped


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("gpm", "gpm"),
        ("cost $5", r"cost \$5"),
        # Two that cannot be read as mathematics, and two lines with one each.
        ("$a_$", r"\$a_\$"),
        ("$a\nb$", "\\$a\nb\\$"),
        (r"$\lambda$ = 1", r"$\lambda$ = 1"),
        (r"\$5", r"\$5"),
    ],
)
def test_a_dollar_is_mathematics_only_where_it_can_be_read(name, written):
    assert shown(name) == written


def test_mathematics_is_not_broken_into_lines():
    name = r"$\alpha + \beta + \gamma$ of gpm"
    assert filled(name, 8) == "$\\alpha + \\beta + \\gamma$\nof gpm"
    assert wrapped("$ a/b", 3) == "\\$\na/b"
