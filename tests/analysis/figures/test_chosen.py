"""Which figures are drawn."""

import pytest

from orthotrace.analysis.figures.chosen import check_figures, chosen
from orthotrace.core.errors import UserError

RIGHT = ("rdms", "drift", "layers", "con*", "images-*", "im*", "images-gpm", "readout-relu1", "sweep-optimizer.lr", "*")
WRONG = {
    "rdm": "figures: there is no figure 'rdm'; did you mean 'rdms'?",
    "consistancy": "did you mean 'consistency'?",
    "imagesgpm": "figures: there is no figure 'imagesgpm'",
    "x*": "figures: there is no figure 'x\\*'; there are: accuracy, activity, capacity",
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_name_or_pattern_that_some_analysis_has(name):
    check_figures([name])


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_no_analysis_has(name):
    with pytest.raises(UserError, match=WRONG[name]):
        check_figures(["rdms", name])


def test_what_these_networks_have():
    there = ["mds", "rdms", "images-gpm", "images-hlop"]
    assert (
        chosen(None, there) == there
        and chosen(["images-*"], there) == there[2:]
        and chosen(["rdms"], there) == ["rdms"]
    )
    with pytest.raises(
        UserError, match="of these networks there is no 'images-gmp' to draw; did you mean 'images-gpm'?"
    ):
        chosen(["mds", "images-gmp"], there)
