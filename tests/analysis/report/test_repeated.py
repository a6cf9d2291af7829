"""A report alone suffices to repeat a study."""

from __future__ import annotations

import html
import itertools
import re
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from made_runs import written

from orthotrace.analysis.report.repeated import Repeated, commands, origins_table, settings_table
from orthotrace.config.conf import conf_folder
from orthotrace.config.folder_names import run_name
from orthotrace.results.groups import Group
from orthotrace.results.run_folder import find


def jobs(command: str) -> list[list[str]]:
    """The overrides of every run that a command starts."""
    program, *words = shlex.split(command)
    assert program == "orthotrace-train"
    values = []
    for one in OverridesParser.create().parse_overrides([word for word in words if word != "--multirun"]):
        swept = one.is_sweep_override()
        assert not swept or "--multirun" in words
        values.append(
            [f"{one.key_or_group}={value}" for value in one.sweep_string_iterator()] if swept else [one.input_line]
        )
    return [list(job) for job in itertools.product(*values)]


def test_the_commands_of_the_report_give_the_same_configurations(analysed, study):
    page = (analysed / "report.html").read_text(encoding="utf-8")
    given = [html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    given = [one for one in given if one.startswith("orthotrace-train")]
    assert len(given) == 3 and "method=hlop" in given[2]
    assert "shown as the data set holds them; SHA-256" in page
    # The name of a run's folder ends with the hash of its configuration; what comes before it depends on the sweep.
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        hashes = [run_name(job, compose("train", job))[-8:] for command in given for job in jobs(command)]
    assert sorted(hashes) == sorted(run.folder.name[-8:] for run in find(study))
    # Nothing but the report says what else is needed.
    scores = find(study)[0].scores
    for text in (*scores["versions"].values(), scores["machine"]["processor"], scores["commit"]["orthotrace"] or ""):
        assert html.escape(text) in page, text
    for text in ("data set", "digits", "permuted", "mlp", "momentum", "max_epochs 1", "0, 1, 2"):
        assert text in page, text


def test_every_link_of_the_report_leads_to_a_file(analysed):
    from urllib.parse import unquote

    page = (analysed / "report.html").read_text(encoding="utf-8")
    links = [unquote(html.unescape(one)) for one in re.findall(r'<a href="([^"]+)"', page)]
    assert {"results.json", "stimuli.csv", "tables/scores.tex", "tables/tests.tex"} <= set(links)
    assert all((analysed / link).exists() for link in links)
    assert sum(link.endswith(".csv") for link in links) == 1 + page.count("<figure")
    assert sum(link.startswith("..") for link in links) == 8


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        # One run, several that differ in one key, and in more than one.
        ([(0, ())], ["orthotrace-train method=gpm seed=0"]),
        ([(0, ()), (1, ())], ["orthotrace-train --multirun method=gpm seed=0,1"]),
        (
            [(0, ("seeds.init=1",)), (1, ("seeds.init=2",))],
            ["orthotrace-train method=gpm seed=0 seeds.init=1", "orthotrace-train method=gpm seed=1 seeds.init=2"],
        ),
        # What changes no result is left out; what a shell would read is quoted.
        (
            [(0, ("logger=wandb", "overwrite=true", "hydra/launcher=joblib", "model.hidden=[4]"))],
            ["orthotrace-train method=gpm seed=0 'model.hidden=[4]'"],
        ),
    ],
)
def test_commands(tmp_path, runs, expected):
    made = [written(tmp_path, seed=seed, overrides=more, name=f"run{seed}") for seed, more in runs]
    assert commands(Group("gpm", tuple(made))) == expected


def test_what_differs_between_groups_is_said_of_each(tmp_path):
    noise = {"er": "0.5", "gpm": "0.0"}
    runs = [written(tmp_path, one, seed, overrides=(f"stream.noise={noise[one]}",)) for one in noise for seed in (3, 4)]
    rows = settings_table([Group(one, tuple(run for run in runs if run.scores["method"] == one)) for one in noise])
    assert ["stream: er", "tasks 2, noise 0.5"] in rows and ["stream: gpm", "tasks 2, noise 0.0"] in rows
    assert ["data set", "d"] in rows and ["seeds", "3, 4"] in rows


def test_a_network_of_the_user_s_own_is_told_by_its_class(tmp_path):
    run = written(tmp_path, overrides=("model._target_=mine.Net", "model.width=3"))
    (run.hydra / "hydra.yaml").write_text("hydra: {runtime: {choices: {model: custom, dataset: folder}}}")
    rows = settings_table([Group("gpm", (run,))])
    assert ["network", "mine.Net: width 3"] in rows and ["data set", "folder"] in rows


def test_runs_on_several_machines_are_counted_and_old_ones_named(tmp_path):
    about = {"processor": "one", "cores": 2, "device": "cpu", "devices": 1, "system": "Linux"}
    runs = [
        written(tmp_path, seed=0, machine=about, versions={"torch": "2"}, commit={"here": "abc with changes"}),
        written(tmp_path, seed=1, machine={**about, "processor": "other"}, versions={"torch": "2"}),
        written(tmp_path, seed=2, versions={"torch": "2"}, test_images=[30, 30]),
        written(tmp_path, seed=3, versions={"torch": "2"}, test_images=[30, 20]),
    ]
    rows = origins_table(runs)
    assert [row[1] for row in rows if row[0] == "test images"] == [
        "360 of each task",
        "30 of each task",
        "30, 20 of the tasks",
    ]
    assert ["versions", "torch 2", "4"] in rows and ["commit", "abc with changes (of the study)", "1"] in rows
    assert [row[1] for row in rows if row[0] == "machine"][1:] == [
        "other, 2 cores; trained on 1 x cpu; Linux",
        "not recorded",
    ]


def test_links_are_relative_to_the_page(tmp_path):
    runs = [written(tmp_path, name="a=1,b")]
    found = Repeated.of([Group("gpm", tuple(runs))], tmp_path / "analysis")
    (link,) = found.runs["gpm"]
    assert (link.name, link.address) == ("a=1,b", "../a%3D1%2Cb")
