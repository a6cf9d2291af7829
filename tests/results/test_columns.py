import pytest

from orthotrace.results.columns import COLUMNS, SHORT, explained, lacking, titled


@pytest.mark.parametrize("score", SHORT)
def test_every_column_is_explained_in_the_words_of_its_score(score):
    titles = [titled(name, score) for name in COLUMNS]
    said = explained(["method", "runs", *titles], score)
    assert [part.split(":")[0] for part in said.split("; ")] == titles
    assert ("accuracy" in said, "R²" in said) == (score == "accuracy", score == "r2")


def test_a_table_without_scores():
    assert explained(["method", "runs"]) == ""


@pytest.mark.parametrize("score", SHORT)
def test_of_every_column_that_may_be_empty_it_is_said_what_a_run_needs(score):
    titles = [titled(name, score) for name in COLUMNS]
    said = lacking([titles, ["–"] * len(titles)], score).removeprefix("–: ").removesuffix(".").split("; ")
    needs = dict(one.split(" needs ") for one in said)
    assert list(needs) == titles
    # These every run has.
    assert {title for title, need in needs.items() if not need} == {
        titled(name, score) for name in ("acc", "learning_accuracy", "seconds", "megabytes")
    }


def test_a_table_without_empty_cells_needs_no_reason():
    assert lacking([["method", "BWT"], ["gpm", ".1"]]) == ""
