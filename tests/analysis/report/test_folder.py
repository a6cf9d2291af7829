import json

import pytest

from orthotrace.analysis.report.folder import MARKS, WRITTEN, check_folder
from orthotrace.core.errors import UserError


def fill(path):
    """A file, or a folder with a file, of the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "." in path.name:
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine.txt").write_text("mine")


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_something_else_are_not_overwritten(tmp_path, name):
    fill(tmp_path / name)
    with pytest.raises(UserError, match=rf"^out: .* holds {name} of something else; choose another folder"):
        check_folder(tmp_path)


@pytest.mark.parametrize("mark", MARKS)
def test_an_analysis_that_was_stopped_goes_on(tmp_path, mark):
    for name in WRITTEN:
        fill(tmp_path / name)
    fill(tmp_path / mark)
    check_folder(tmp_path)


def test_an_analysis_of_an_earlier_version_is_made_anew(tmp_path):
    fill(tmp_path / "figures")
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "measure": "correlation", "layers": []}))
    check_folder(tmp_path)


@pytest.mark.parametrize("content", ['{"schema": 1}', "[]", "3", '{"schema"'])
def test_other_results(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=r"results\.json of something else"):
        check_folder(tmp_path)


def test_other_files_and_empty_folders_do_no_harm(tmp_path):
    fill(tmp_path / "notes.md")
    (tmp_path / "figures").mkdir()
    check_folder(tmp_path)
    check_folder(tmp_path / "new")


def test_a_file_is_no_folder(tmp_path):
    fill(tmp_path / "a.txt")
    with pytest.raises(UserError, match=r"^out: .*a\.txt is a file; choose another folder"):
        check_folder(tmp_path / "a.txt")
