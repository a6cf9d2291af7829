"""report.html in a browser."""

from __future__ import annotations

import base64
import re
import shutil

import numpy as np
import pytest
from made_runs import written

from orthotrace.analysis.report.report import consistency_table, embedded, write_report
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
        "layers": [marked("layer"), "of no network"],
        "measure": marked("measure"),
        "consistency": [of],
        "centroid_consistency": [of],
        "similarity": [{**of, "measure": marked("similarity"), "function": marked("function")}],
        "references": [{**of, **bounds, "reference": marked("reference"), "by": marked("by")}],
        "concepts": [{**of, **concept}],
        "networks": 2,
        "options": {"epochs": "all"},
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
    assert page.count("<script") == 1 and "<script>alert" not in page and "<b onclick" not in page
    # Of every table with an empty cell it is said why.
    assert page.count("–: no two networks of the group have a value of that layer.") == 3
    assert "–: no value of that layer; " in page and "–: FWT needs two tasks that share their outputs" in page
    # Where the numbers are of epochs, all tables say so.
    assert page.count("<th>after epoch</th>") == 5 and "after task" not in page
    # No name makes a folder.
    assert all(path.is_file() for path in (tmp_path / "tables").iterdir())
    # What is left are the tags of the page itself.
    tags = set(re.findall(r"</?([a-z0-9]+)", re.sub(r"(?s)(?<=<script>).*(?=</script>)", "", page)))
    assert tags <= {
        "html", "head", "meta", "title", "link", "style", "body", "h1", "h2", "p", "div", "table", "thead", "tbody", "tr",
        "th", "td", "figure", "img", "figcaption", "b", "code", "footer", "a", "pre", "span", "script", "details", "summary",
    }  # fmt: skip


@pytest.fixture(scope="module")
def chrome():
    """A browser without a window, for all tests here."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


# A printed page of A4 has 680 of the browser's pixels between its margins.
SIZES = {"desktop": (1280, 900), "phone": (375, 812), "printed": (680, 1009)}
# The nth column of the first table as it is shown.
COLUMN = (
    "return Array.from(document.querySelectorAll('.wide tbody')[0].rows, row => row.cells[arguments[0]].textContent)"
)
CLICK = "document.querySelectorAll('.wide th')[arguments[0]].click()"


@pytest.fixture(params=[("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark"), ("printed", "dark")],
                ids=" ".join)  # fmt: skip
def opened(request, chrome, analysed):
    """The report as it is shown on a device."""
    device, scheme = request.param
    width, height = SIZES[device]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": device == "phone"}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    media = {"media": "print" if device == "printed" else "screen", "features": [feature]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    chrome.get_log("browser")
    chrome.get((analysed / "report.html").as_uri())
    return chrome, device, scheme


def test_it_opens_offline_without_a_broken_picture_or_an_error(opened):
    chrome, device, scheme = opened
    width = SIZES[device][0]
    pictures = chrome.execute_script(
        "return Array.from(document.querySelectorAll('figure img'))"
        ".map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().right])"
    )
    assert len(pictures) == 17
    assert all(complete and natural > 300 and right <= width for complete, natural, right in pictures)
    # Nothing but a table in its own frame is wider than the page.
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
    fetched = "return performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length"
    assert chrome.execute_script(fetched) == 0
    colours = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    page, text = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in chrome.execute_script(colours))
    # On paper it is always light.
    assert (page < 150 < 600 < text) if scheme == "dark" and device != "printed" else (text < 150 < 600 < page)
    if device == "printed":
        document = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
        assert document.startswith(b"%PDF") and document.count(b"/Type /Page\n") >= 2
        return
    # Tables sort, by the size of their numbers, down by a second click.
    rows = chrome.execute_script(COLUMN, 1)
    for _ in range(2):
        chrome.execute_script(CLICK, 1)
    numbers = [float(cell.split()[0]) for cell in chrome.execute_script(COLUMN, 1)]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) == len(rows) == 3
    head = "return document.querySelectorAll('.wide th')[1].getAttribute('aria-sort')"
    assert chrome.execute_script(head) == "descending"
    chrome.execute_script(CLICK, 0)
    names = chrome.execute_script(COLUMN, 0)
    assert names == sorted(names) and chrome.execute_script(head) is None
    # Figures enlarge, captions are copied.
    shown = "return [document.querySelector('dialog').open, document.querySelector('dialog img').naturalWidth]"
    chrome.execute_script("document.querySelector('figure img').click()")
    assert chrome.execute_script(shown)[0] and chrome.execute_script(shown)[1] > 300
    chrome.execute_script("document.querySelector('dialog').click()")
    assert not chrome.execute_script(shown)[0]
    chrome.execute_script("document.querySelector('figcaption button').click()")
    assert chrome.execute_script("return document.querySelector('figcaption button').textContent") == "copied"
    assert chrome.get_log("browser") == []


def test_the_command_and_the_versions_of_the_analysis_are_told(analysed, study):
    page = (analysed / "report.html").read_text(encoding="utf-8")
    command = f"<pre>orthotrace-analyze runs={study} out={analysed} tasks=all &#39;formats=[png]&#39;"
    assert page.count(f"{command}</pre>") == 1
    # That of each figure draws it alone.
    names = re.findall('<figure id="(.*?)">', page)
    assert [page.count(f"{command} &#39;figures=[{name}]&#39;</pre>") for name in names] == [1] * len(names)
    assert page.count(command) == len(names) + 1 > 10
    assert "matplotlib " in page and "<td>interval.level</td><td>0.95</td>" in page
    assert "ACC: mean accuracy on all tasks after the last one; BWT: mean change" in page


def test_it_stays_small_with_ten_seeds_and_nine_layers(tmp_path):
    """Noise, which nothing makes smaller, of four groups."""
    from orthotrace.analysis import figures

    rng = np.random.default_rng(0)
    layers, groups = [f"layer{number}" for number in range(9)], ["finetune", "gpm", "hlop", "ewc"]
    maps = {group: {layer: rng.random(4950) for layer in layers} for group in groups}
    with figures.styled():
        figure, _ = figures.rdm_maps(maps, [str(number) for number in range(10)], 10)
        figure.savefig(tmp_path / "rdms.png")
    # The other figures, of lines, points and few cells, take below 300 kB each: some twenty, and images of each group.
    assert len(embedded(tmp_path / "rdms.png")[0]) + 25 * 300_000 < 10_000_000
