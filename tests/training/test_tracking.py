import ast
from pathlib import Path

import pytest

import orthotrace
from orthotrace.core.errors import UserError
from orthotrace.training.tracking import Tracker, WandbTracker


def test_only_one_file_imports_wandb():
    found = set()
    package = Path(orthotrace.__file__).parent
    for file in [*package.rglob("*.py"), *(package / "analysis").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "wandb" for name in names):
                found.add(file.name)
    assert found == {"tracking.py"}


@pytest.mark.parametrize("options", [{"mode": "sometimes"}, {"project": ""}, {"wrong": 1}])
def test_trackers_that_cannot_be(options):
    with pytest.raises(UserError):
        WandbTracker(**options)


def test_the_silent_tracker_has_every_hook():
    tracker = Tracker()
    tracker.start(Path(), "train", "g", "n", [], {})
    tracker.figures({}, {})
    tracker.finish()
    WandbTracker(mode="offline").finish()


def test_an_id_that_is_in_use_for_a_moment_is_waited_for(monkeypatch):
    from orthotrace.training.tracking import _opened

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answers = [RuntimeError("run ID ec0d3ac8 is in use")] * 2 + ["run"]

    def init():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert _opened(init) == "run" and not answers
    with pytest.raises(RuntimeError, match="is in use"):
        _opened(lambda: (_ for _ in ()).throw(RuntimeError("run ID x is in use")), patience=-1)
    with pytest.raises(RuntimeError, match="other"):
        _opened(lambda: (_ for _ in ()).throw(RuntimeError("other")))
