"""The flags of a command, which are Hydra's, and its overrides."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from orthotrace.core.errors import UserError, nearest, short

# Without and with a value.
SWITCHES = (("--help", "-h"), ("--hydra-help",), ("--version",), ("--resolve",), ("--run", "-r"),
            ("--multirun", "-m"), ("--shell-completion", "-sc"))  # fmt: skip
VALUES = (("--package", "-p"), ("--config-path", "-cp"), ("--config-name", "-cn"), ("--config-dir", "-cd"))
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
# What prints something and runs nothing.
ASKING = ("help", "hydra_help", "version", "shell_completion", "cfg", "info")
SHELLS = ("bash", "fish", "zsh")


class Flags(argparse.ArgumentParser):
    """Hydra's flags, all but the one that reads a pickle; what is no flag is for Hydra to read."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.add_argument("overrides", nargs="*")
        for names in SWITCHES:
            self.add_argument(*names, action="store_true")
        for names in VALUES:
            self.add_argument(*names)
        self.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
        self.add_argument("--info", "-i", choices=INFO)

    def error(self, message: str) -> NoReturn:
        """What is wrong with the value of a flag."""
        raise UserError(message.removeprefix("argument "))


def read_flags(words: Sequence[str]) -> argparse.Namespace:
    """The flags and overrides of a command, wherever they stand.

    Raises:
        UserError: what begins with a minus and is no flag; names the nearest. What is wrong with the value of one, or
            flags that do not go together.

    Example:
        >>> found = read_flags(["seed=0,1", "--multirun", "name=x"])
        >>> found.multirun, found.overrides
        (True, ['seed=0,1', 'name=x'])
        >>> read_flags(["--multrun"])
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: --multrun: no such flag; did you mean '--multirun'?
    """
    parser = Flags()
    found, rest = parser.parse_known_intermixed_args(_with_all(words))
    for one in rest:
        hint = nearest(one, [name for action in parser._actions for name in action.option_strings])
        raise UserError(f"no such flag; {hint.partition(' There are')[0]}", short(one))
    asked = [_flag(name) for name in ASKING if getattr(found, name)]
    if len(asked) > 1:
        raise UserError(f"only one of {' and '.join(asked[:2])} at a time")
    if found.run and found.multirun:
        raise UserError("only one of --run and --multirun at a time")
    for name in ("resolve", "package"):
        if getattr(found, name) and asked not in (["--cfg"], ["--help"]):
            raise UserError(f"goes with --cfg: write --cfg job {_flag(name)}", _flag(name))
    for name in ("config_dir", "config_path"):
        if (folder := getattr(found, name)) is not None:
            if not Path(folder).is_dir():
                raise UserError(f"there is no folder {short(folder, 300)} (looked for in {Path.cwd()})", _flag(name))
            setattr(found, name, str(Path(folder).absolute()))
    if found.shell_completion:
        _check_completion(found.overrides)
    if asked:
        found.run = False
        # Of what depends on the jobs there is one answer for each.
        found.multirun &= bool(found.cfg or found.info)
    if found.hydra_help:
        # Hydra composes its own part alone for that.
        found.overrides = [one for one in found.overrides if one.lstrip("+~").startswith("hydra")]
    return found


def as_words(flags: argparse.Namespace) -> list[str]:
    """The same, as Hydra reads it: its parser takes overrides on one side of the flags only."""
    switches = [names[0] for names in SWITCHES if getattr(flags, names[0][2:].replace("-", "_"))]
    names = (*(names[0] for names in VALUES), "--cfg", "--info")
    values = [(name, getattr(flags, name[2:].replace("-", "_"))) for name in names]
    return [
        *switches,
        *(word for name, value in values if value is not None for word in (name, value)),
        *flags.overrides,
    ]


def overrides_in(words: Sequence[str]) -> list[str]:
    """The overrides among the words of a command; none where its flags are wrong."""
    try:
        return Flags().parse_known_intermixed_args(_with_all(words))[0].overrides
    except UserError:
        return []


def _with_all(words: Sequence[str]) -> list[str]:
    """The words, with the value of --info where it has none: argparse would take the next word for it."""
    found: list[str] = []
    for word, following in zip(words, [*words, "-"][1:], strict=True):
        found.append(word)
        if word in ("--info", "-i") and (following.startswith("-") or "=" in following):
            found.append("all")
    return found


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_completion(overrides: Sequence[str]) -> None:
    """Refuse what Hydra's completion ends in a traceback for."""
    asked = [one.partition("=") for one in overrides if one.partition("=")[0] in ("install", "uninstall", "query")]
    if len(asked) != 1 or asked[0][2] not in SHELLS:
        raise UserError(
            f"write install=SHELL or uninstall=SHELL, where SHELL is {', '.join(SHELLS)}", "--shell-completion"
        )
    if asked[0][0] == "query" and "COMP_LINE" not in os.environ:
        raise UserError("query is what the shell itself asks; write install=SHELL", "--shell-completion")
