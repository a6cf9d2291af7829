"""What mkdocs does besides: pages from notebooks, options from conf/ and code, the changelog, formulas as MathML."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import keys
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "scripts" / "results"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made from something else."""
    files.append(File.generated(config, "changelog.md", content=(ROOT / "CHANGELOG.md").read_text()))
    for path in sorted(path for path in RESULTS.rglob("*") if path.is_file() and not path.name.startswith(".")):
        name = path.relative_to(RESULTS).as_posix()
        files.append(File.generated(config, f"results/data/{name}", abs_src_path=str(path)))
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        text, images = page_of(path)
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=text))
        for name, data in images.items():
            files.append(File.generated(config, f"tutorials/{name}", content=data))
    return files


def page_of(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its figures."""
    parts, images = [], {}
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            if "text" in output:
                parts.append("```text title='output'\n" + "".join(output["text"]) + "```")
            else:
                name = f"{path.stem}-{len(images) + 1}.png"
                images[name] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![The figure of the cell above]({name})")
    parts.append(f"[Download this notebook]({path.name})")
    return "\n\n".join(parts), images


def options(folder: Path) -> str:
    """One group of conf/: its files, and those that they share; their comments say what each key means."""
    files = sorted(folder.glob("*.yaml"))
    shared: list[Path] = []
    for path in files:
        shared += shared_by(path, shared)
    found = [f'??? note "`{folder.name}={path.stem}`"\n\n    ```yaml\n{shown(path)}    ```\n' for path in files]
    found += [f'??? info "`{path.name}`: shared keys"\n\n    ```yaml\n{shown(path)}    ```\n' for path in shared]
    return "\n".join([*found, keys.table("train", folder.name)])


def shared_by(path: Path, known: list[Path]) -> list[Path]:
    """The files beside train.yaml that a file, or one of those, begins with."""
    names = re.findall(r"^  - /?(_\w+?)(?:@\w+)?$", path.read_text(), flags=re.MULTILINE)
    new = [ROOT / "conf" / f"{name}.yaml" for name in names if (ROOT / "conf" / f"{name}.yaml").is_file()]
    found: list[Path] = []
    for one in new:
        if one not in known and one not in found:
            found += [one, *shared_by(one, [*known, *found, one])]
    return found


def shown(path: Path) -> str:
    """The text of a file, indented as the block that it stands in."""
    return "".join(f"    {line}\n" for line in path.read_text().splitlines())


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what conf/ says, and point at the copies of the results."""
    markdown = re.sub(r"\{\{ group (\w+) \}\}", lambda match: options(ROOT / "conf" / match[1]), markdown)
    markdown = re.sub(r"\{\{ keys (\w+) \}\}", lambda match: keys.table(match[1], ""), markdown)
    markdown = re.sub(
        r"\{\{ file (\S+) \}\}", lambda match: f"```yaml\n{(ROOT / match[1]).read_text().rstrip()}\n```", markdown
    )
    if page.file.src_uri.startswith("tutorials/"):  # made from a notebook, which its last link is to
        return markdown
    markdown = markdown.replace("](../../scripts/results/", "](data/").replace(
        "](../scripts/results/", "](results/data/"
    )
    return markdown.replace(".ipynb)", ".md)")


def on_page_content(html_text: str, **_: Any) -> str:
    """Formulas as MathML, which browsers show without a script."""
    return re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda match: convert(html.unescape(match[2]), display="block" if match[1] == "div" else "inline"),
        html_text,
        flags=re.DOTALL,
    )
