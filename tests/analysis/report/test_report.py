"""report.html in a browser."""

from __future__ import annotations

import base64
import re
import shutil

import pytest
from made_runs import written

from orthotrace.analysis.report.report import consistency_table, write_report
from orthotrace.results.groups import Group


def test_no_pairs_is_no_table():
    assert consistency_table([], ["a"]) == []


MARKUP = "<script>alert('{}')</script><b onclick=\"{}()\">&amp;"


def marked(name: str) -> str:
    return MARKUP.format(name, name)


def test_every_name_that_a_user_chose_is_escaped(tmp_path):
    mean = {"mean": 0.5, "low": 0.4, "high": 0.6, "interval": marked("interval"), "stimuli": True, "level": 0.95}
    of = {**mean, "method": marked("method"), "task": marked("task"), "layer": marked("layer")}
    bounds = {"ceiling": {"lower": 0.1, "upper": 0.2}}
    concept = {"probe": 0.5, "purity": 0.5, "filter": 0.5, "vector": 0.5, "concept": marked("concept")}
    results = {
        "layers": [marked("layer")],
        "measure": marked("measure"),
        "consistency": [of],
        "centroid_consistency": [of],
        "similarity": [{**of, "measure": marked("similarity"), "function": marked("function")}],
        "references": [{**of, **bounds, "reference": marked("reference"), "by": marked("by")}],
        "concepts": [{**of, **concept}],
        "networks": 2,
        "read": [{"layer": marked("layer"), "read": "post", "after": [marked("after")]}],
        "left_out": [
            {
                "method": marked("method"),
                "run": marked("run"),
                "task": 1,
                "layer": marked("layer"),
                "what": marked("what"),
                "why": marked("why"),
                "stimuli": None,
            }
        ],
        "stimuli": {"classes": [marked("class")], "count": 1, "per_class": 1, "sha256": marked("sha")},
    }
    picture = tmp_path / "figure.png"
    picture.write_bytes(bytes(32))
    about = {key: marked(key) for key in ("processor", "cores", "device", "devices", "system")}
    lost = [[0.9, 0.1], [0.9, 0.1]]
    runs = [
        written(
            tmp_path / "runs", seed=seed, accuracy=lost, name=f"<b onclick={seed}>", machine=about,
            versions={marked("package"): marked("version")}, commit={"here": marked("commit")},
            overrides=(f"dataset.path={marked('path')}",),
        )
        for seed in (0, 1)
    ]  # fmt: skip
    grouped = [Group(marked("method"), tuple(runs)), Group(marked("second"), tuple(runs))]
    page = write_report(tmp_path, grouped, results, {marked("caption"): picture}).read_text(encoding="utf-8")
    names = (
        "method",
        "interval",
        "task",
        "layer",
        "measure",
        "function",
        "reference",
        "by",
        "concept",
        "caption",
        "sha",
        "second",
        "processor",
        "device",
        "system",
        "package",
        "version",
        "commit",
        "path",
        "after",
        "run",
        "what",
        "why",
    )
    for name in names:
        assert f"alert(&#39;{name}&#39;)" in page, name
    assert "<script" not in page and "<b onclick" not in page
    # No name makes a folder.
    assert all(path.is_file() for path in (tmp_path / "tables").iterdir())
    # What is left are the tags of the page itself.
    tags = set(re.findall(r"</?([a-z0-9]+)", page))
    assert tags <= {
        "html", "head", "meta", "title", "link", "style", "body", "h1", "h2", "p", "div", "table", "thead", "tbody", "tr",
        "th", "td", "figure", "img", "figcaption", "b", "code", "footer", "a", "pre",
    }  # fmt: skip


# A printed page of A4 has 680 of the browser's pixels between its margins.
@pytest.mark.parametrize("size", [(1280, 900), (375, 812), (680, 1009)], ids=["desktop", "phone", "printed"])
def test_it_opens_offline_without_a_broken_picture_or_an_error(analysed, size):
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option(
        "mobileEmulation", {"deviceMetrics": {"width": size[0], "height": size[1], "pixelRatio": 1.0}}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        printed = size[0] == 680
        if printed:
            chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        chrome.get((analysed / "report.html").as_uri())
        pictures = chrome.execute_script(
            "return Array.from(document.images).map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().right])"
        )
        assert len(pictures) == 9
        assert all(complete and width > 300 and right <= size[0] for complete, width, right in pictures)
        # Nothing but a table in its own frame is wider than the page.
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= size[0]
        assert (
            chrome.execute_script(
                "return performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length"
            )
            == 0
        )
        assert chrome.get_log("browser") == []
        if printed:
            document = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
            assert document.startswith(b"%PDF") and document.count(b"/Type /Page\n") >= 2
    finally:
        chrome.quit()
