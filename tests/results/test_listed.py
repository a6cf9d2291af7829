"""The list of a multirun's jobs, whatever has become of the file."""

from __future__ import annotations

import pytest

from orthotrace.results.listed import Job, JobList, read_list, tell, write_list

DAMAGED = ["5", "null", '"job"', "[]", "[[1, 2]]", '{"job": 5, "overrides": []}', '{"job": "a"}',
           '{"job": "a", "overrides": 3}', '{"job', "\udcff"]  # fmt: skip


@pytest.mark.parametrize("line", DAMAGED, ids=ascii)
def test_a_damaged_line_is_passed_over(tmp_path, line):
    path = write_list(tmp_path, [Job(tmp_path / "one", ("seed=1",))], queued=False)
    with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{line}\n")
    tell(path, "failure")
    assert read_list(path) == JobList(path, (Job(tmp_path / "one", ("seed=1",)),), ("failure",), False, True)


HEADS = ["{}", "[]", '{"process": "x", "host": HOST}', '{"process": null, "host": HOST}', '{"process": 0, "host": HOST}',
         '{"process": -1, "host": HOST}', '{"process": 1e400, "host": HOST}', '{"process": 1}']  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_a_list_without_its_process_is_of_none_that_lives(tmp_path, head):
    path = write_list(tmp_path, [Job(tmp_path / "one")], queued=False)
    path = path.rename(path.with_name("of-before.jsonl"))
    first, rest = path.read_text().split("\n", 1)
    host = first.partition('"host": ')[2].partition(",")[0]
    path.write_text(f"{head.replace('HOST', host)}\n{rest}")
    assert read_list(path) == JobList(path, (Job(tmp_path / "one"),))
    # The next multirun there removes it.
    write_list(tmp_path, [], queued=False)
    assert not path.exists()
