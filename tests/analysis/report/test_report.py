"""report.html in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

# Used by the fixture of test_analyze as well.
from composed import inspect  # noqa: F401

from orthotrace.analysis.report.report import consistency_table


def test_no_pairs_is_no_table():
    assert consistency_table([], ["a"]) == []


@pytest.fixture(scope="module")
def page(study, tmp_path_factory) -> Path:
    from omegaconf import OmegaConf

    from orthotrace.analysis.cli import analyse
    from orthotrace.config.conf import conf_folder

    out = tmp_path_factory.mktemp("report")
    config = OmegaConf.load(conf_folder() / "analyze.yaml")
    config.pop("hydra"), config.pop("defaults")
    logger = OmegaConf.load(conf_folder() / "logger" / "csv.yaml")
    return analyse(OmegaConf.merge(config, {"runs": str(study), "out": str(out), "logger": logger}))


@pytest.mark.parametrize("size", [(1280, 900), (375, 812)], ids=["desktop", "phone"])
def test_it_opens_offline_without_a_broken_picture_or_an_error(page, size):
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
        chrome.get(page.as_uri())
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
    finally:
        chrome.quit()
