import pytest

from orthotrace.results.columns import COLUMNS, SHORT, explained, titled


@pytest.mark.parametrize("score", SHORT)
def test_every_column_is_explained_in_the_words_of_its_score(score):
    titles = [titled(name, score) for name in COLUMNS]
    said = explained(["method", "runs", *titles], score)
    assert [part.split(":")[0] for part in said.split("; ")] == titles
    assert ("accuracy" in said, "R²" in said) == (score == "accuracy", score == "r2")


def test_a_table_without_scores():
    assert explained(["method", "runs"]) == ""
