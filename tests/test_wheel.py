"""The wheel, in an environment without the project."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = version("orthotrace")


# In one process: each would import torch and Lightning anew.
PROGRAM = """
import importlib.metadata, sys
import orthotrace, orthotrace.analysis
from orthotrace.analysis.cli import main as analyze
from orthotrace.cli.train import main as train

def call(main, *arguments):
    sys.argv = [main.__module__, *arguments]
    print("-----", flush=True)
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code

print(orthotrace.__file__, orthotrace.analysis.__file__)
call(train, "--cfg", "job")
call(train, "stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[8]", "hydra.run.dir=run")
call(analyze, "runs=run", "formats=[]")
print("-----")
print([one.name for one in importlib.metadata.distribution("orthotrace").entry_points])
"""


def run(*arguments: object, cwd: Path) -> str:
    done = subprocess.run([str(argument) for argument in arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# A user's own package "analysis" beside a script, and one that is installed: neither is ours, and ours is neither.
OWN = (
    "import analysis; from orthotrace.analysis.rdm.rdms import RDMs; import orthotrace.analysis;"
    "print(analysis.WHOSE, len(RDMs.of([[[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]]])), hasattr(orthotrace.analysis, 'WHOSE'))"
)


def analysis_of(folder: Path, whose: str) -> None:
    (folder / "analysis").mkdir(parents=True)
    (folder / "analysis" / "__init__.py").write_text(f"WHOSE = {whose!r}")


def test_an_installed_wheel_runs_from_another_folder(tmp_path):
    # The sdist, and from it the wheel: as a release is made.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", ROOT, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"orthotrace", f"orthotrace-{VERSION}.dist-info"}
    assert {"orthotrace/analysis/rdm/rdms.py", "orthotrace/conf/train.yaml", "orthotrace/py.typed"} <= set(names)
    assert len(names) == len(set(names))
    venv.create(tmp_path / "env", with_pip=False)
    place = Path(
        sysconfig.get_path(
            "purelib", scheme="venv", vars={"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
        )
    )
    options = ["--no-deps", "--no-index", "--quiet", "--target", place, wheel]
    run(sys.executable, "-m", "pip", "install", *options, cwd=tmp_path)
    # The heavy dependencies are shared; what an editable install adds to the path is not.
    (place / "shared.pth").write_text("\n".join(one for one in sys.path if one.endswith("site-packages")))
    python, folder = tmp_path / "env" / "bin" / "python", tmp_path / "elsewhere"
    folder.mkdir()
    analysis_of(tmp_path / "project", "beside")
    analysis_of(tmp_path / "packages", "installed")
    installed = f"import sys; sys.path.append({str(tmp_path / 'packages')!r}); {OWN}"
    for interpreter in (python, sys.executable):  # of the wheel, and of an editable install
        assert run(interpreter, "-c", OWN, cwd=tmp_path / "project").split() == ["beside", "1", "False"]
        assert run(interpreter, "-c", installed, cwd=folder).split() == ["installed", "1", "False"]
    done = run(python, "-c", PROGRAM, cwd=folder)
    where, config, trained, analysed, names = done.split("-----\n")
    assert all(str(place) in path for path in where.split())
    assert "max_epochs: 5" in config and "ACC" in trained and "report" in analysed
    assert (folder / "run" / "scores.json").is_file()
    assert all(f"orthotrace-{name}" in names for name in ("train", "analyze", "runs"))
