"""The site builds without a warning, asks no other place for anything, and shows what it should."""

from __future__ import annotations

import json
import re
import sys
import warnings

import pytest
from bad_configurations import CHOICES, OF_ANALYSIS, typed_keys
from conftest import made_once
from pages import DOCS, ROOT

from orthotrace.config.conf import conf_folder, group_folders
from orthotrace.config.schema import NODE


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    def make(folder):
        # In this process, which has imported torch and Lightning: that takes longer than most of the build.
        from mkdocs.__main__ import cli

        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("default")
            patch.setenv("NO_MKDOCS_2_WARNING", "1")
            patch.chdir(ROOT)
            patch.setattr(sys, "path", [*sys.path])
            before = set(sys.modules)
            cli(["build", "--strict", "--quiet", "--site-dir", str(folder)], standalone_mode=False)
            # The pages' own modules have names that others might have.
            for name in {"hooks", "keys", "docstrings"} - before:
                sys.modules.pop(name, None)

    return made_once(tmp_path_factory, "site", make)


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"', text)
        fetched += re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="([^"]*)"', text)
        assert fetched and not [address for address in fetched if "//" in address], page


def test_formulas_are_mathml(site):
    text = (site / "concepts" / "projections.html").read_text()
    assert text.count("<math ") > 20
    for page in site.rglob("*.html"):
        assert "arithmatex" not in page.read_text(), page


def test_tutorials_show_their_outputs(site):
    for path in (DOCS / "tutorials").glob("*.ipynb"):
        text = (site / "tutorials" / f"{path.stem}.html").read_text()
        outputs = [one for cell in json.loads(path.read_text())["cells"] for one in cell.get("outputs", [])]
        assert text.count(f'src="{path.stem}-') == sum("data" in one for one in outputs) >= 1
        assert text.count('<span class="filename">output</span>') == sum("text" in one for one in outputs) >= 1


def test_every_option_is_shown_with_its_keys(site):
    text = (site / "options.html").read_text()
    for path in (path for folder in group_folders() for path in folder.glob("*.yaml")):
        assert f"<code>{path.parent.name}={path.stem}</code>" in text
    for path in conf_folder().glob("_*.yaml"):
        assert f"<code>{path.name}</code>: shared keys" in text


def test_every_key_is_in_a_table_with_type_default_and_meaning(site):
    tables = {}
    for name, page in (("train", "options.html"), ("analyze", "howto/analysis.html")):
        text = (site / page).read_text()
        rows = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)]
        found = {re.sub("<[^>]*>", "", row[0]).split(" ")[0].lstrip("+"): row for row in rows if len(row) == 4}
        assert all(cell.strip() for row in found.values() for cell in row), page
        tables[name] = found
    for name, bases in (("train", CHOICES), ("analyze", [OF_ANALYSIS])):
        for base in bases:
            for key, (argument, _) in typed_keys(name, base).items():
                key = re.sub(r"(\.sources)\.\w+", r"\1.NAME", key)
                users = key.startswith(("measures.", "references.", "where."))
                if argument is not NODE and not users and not key.rpartition(".")[2].startswith("_"):
                    assert key in tables[name], key


def test_every_example_of_the_api_is_code(site):
    for page in (site / "api").glob("*.html"):
        assert "&gt;&gt;&gt;" not in re.sub(r"<pre.*?</pre>", "", page.read_text(), flags=re.DOTALL), page
