"""A user's mistake on one line."""

import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from orthotrace.cli.flags import Flags, overrides_in
from orthotrace.config.conf import conf_folder
from orthotrace.config.keys import at, groups, hint, known_keys, one_option, plain_file, write_keys
from orthotrace.config.outside import TRAINER
from orthotrace.core.errors import UserError, nearest, one_line, short
from orthotrace.core.files import cannot_write
from orthotrace.core.interrupt import stop_here
from orthotrace.core.launched import launched

# Seconds for which the other processes of a run wait before they tell of an error.
SETTLED = 3.0
# What torch says of sizes that no memory holds.
FULL = "out of memory|allocate memory|Storage size calculation overflowed|Overflow when unpacking"


@contextmanager
def mistakes_on_one_line(config_name: str) -> Iterator[None]:
    """Within the block a user's mistake is one line and exit code 2; another error passes.

    Around the whole command, and around a job: Hydra prints a line of its own above an error that passes through it.
    """
    try:
        yield
    except UserError as error:
        stop_here()
        fail(str(error))
    except Exception as error:
        # What a clean-up came to after a signal is no error to tell.
        stop_here()
        # Hydra's error of a missing option is an OSError too.
        line = translated(error, config_name, overrides_in(sys.argv[1:]))
        if (
            line is None
            and isinstance(error, (MemoryError, RuntimeError))
            and (not str(error) or re.search(FULL, str(error)))
        ):
            line = f"not enough memory: a size is too large ({one_line(error)})"
        if line is None and isinstance(error, OSError):
            line = str(cannot_write(short(str(error.filename or "the folder"), 300), error))
        if line is None:
            raise
        fail(line)


def quieten() -> None:
    """Warnings on one line, without the line of code that gave them."""
    warnings.formatwarning = lambda message, category, *_, **__: f"warning: {message}\n"
    # Lightning 2.6 on torch >= 2.13 asks for a class that torch renames.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)


def fail(line: str) -> NoReturn:
    """Print a line and exit with 2."""
    who = launched()
    if who.by and not who.first:
        # The first process has the same error mostly, and its end is that of all.
        time.sleep(SETTLED)
        line = f"process {who.rank + 1} of {who.processes}: {line}"
    print(f"error: {short(line, 2000)}", file=sys.stderr)
    sys.exit(2)


def translated(error: Exception, config_name: str, overrides: Sequence[str] = ()) -> str | None:
    """One line for what Hydra says of a wrong command line; None where the fault is not the user's."""
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if not group:
            return f"--config-name: there is no {short(option)}.yaml in the folder of configurations"
        return f"{group}={short(option)}: no such option; {nearest(option, error.options or [])}"
    if isinstance(error, OverrideParseException):
        return f"{short(str(error.override))}: not understood; {_how_to_write(str(error.override))}"
    if ambiguous := re.search(r"Ambiguous value for argument '([^']*)'", text):
        key, _, values = ambiguous[1].partition("=")
        return short(f"{key}={values}: for a run with each value add --multirun; one list is '{key}=[{values}]'", 300)
    # Of these Hydra's errors are of many kinds, and name no key.
    if line := _no_option(overrides, "resolving interpolation" in text):
        return line
    if isinstance(error, ConfigCompositionException):
        found = re.search(r"(?:Could not (?:override|append|delete)[^']*|Error merging override )'?([^'\s=]+)", text)
        if found:
            return _of_key(found[1].lstrip("+~"), error, config_name, overrides)
    if isinstance(error, OmegaConfBaseException) and (found := re.search(r"[Mm]issing mandatory value: (\S+)", text)):
        return f"{found[1]}: is missing; write {found[1]}=VALUE"
    return one_line(error) if isinstance(error, (HydraException, OmegaConfBaseException)) else None


def _how_to_write(override: str) -> str:
    """What to do about a word that Hydra does not understand.

    Example:
        >>> _how_to_write("seed=0,")
        'write no space beside a comma, as in seed=0,1'
    """
    if override.endswith(",") and "=" in override:
        return f"write no space beside a comma, as in {short(override)}1"
    return "write key=value, without spaces, with quotes around special characters"


def _no_option(overrides: Sequence[str], interpolated: bool) -> str | None:
    """One line for a value in the place of an option's name, such as null; None where there is none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException:
        return None
    for override in parsed:
        if override.is_delete() or override.is_sweep_override():
            continue
        group, value, given = override.key_or_group, override.value(), override.get_value_element_as_str()
        if group in ("", "hydra") or (group.startswith("hydra/") and not isinstance(value, (str, list))):
            what = "is Hydra's own, and no value" if group else "write key=value"
            return f"{group or short(str(override.input_line))}: {what}"
        if group not in groups():
            continue
        if isinstance(value, list):
            return f"{group}: {one_option(given)}"
        if isinstance(value, str) and "${" in value and interpolated:
            return f"{group}: cannot be resolved (got {short(given)})"
        # A name that long is none of a file.
        if not isinstance(value, (str, dict)) or len(value) > 200:
            options = [file.stem for file in (conf_folder() / group).glob("*.yaml")]
            return f"{group}: there is no option {short(given)}; {nearest(short(given), options)}"
    return None


def _of_key(name: str, error: Exception, config_name: str, overrides: Sequence[str]) -> str:
    """One line for a key that Hydra could not set."""
    # Unresolved: Hydra's part knows what there is only while it runs.
    section = at(plain_file(conf_folder() / f"{config_name}.yaml"), name)
    if isinstance(section, Mapping):
        # Hydra takes what is also the name of a group for one.
        return f"{name}: {write_keys(name, section)}"
    cause = error.__cause__
    if cause is not None and "is not in struct" not in str(cause) and "Could not override" not in str(error):
        # OmegaConf's first line; the others are about its objects.
        return f"{short(name)}: {one_line(cause).partition(' full_key: ')[0]}"
    if name in groups():
        return f"{name}: has no keys; write {name}=OPTION to choose one that has"
    if name.startswith("hydra."):
        return f"{short(name)}: Hydra has no such key"
    folders = [Path(folder)] if (folder := Flags().parse_known_args(sys.argv[1:])[0].config_dir) else []
    choices = dict(override.split("=", 1) for override in overrides if "=" in override)
    known = known_keys(config_name, choices, folders)
    above, _, last = name.rpartition(".")
    if "Could not delete" in str(error) and last in (at(known, above) or {}) and at(known, name) is None:
        return f"{name}: is null already"
    if at(known, name) is not None and "Could not append" in str(error):
        return f"{name}: is there already; write {name}=VALUE without a plus"
    if at(known, name) is not None and "Could not delete" in str(error):
        return f"{name}: has another value; write ~{name} alone"
    if isinstance(at(known, name), Mapping):
        return f"{name}: has no such key; one of your own is written +{name}.KEY=..."
    if at(known, name) is not None:
        return f"{name}: cannot be set, since what is above it was deleted"
    if above == "trainer" and last in TRAINER:
        return f"{name}: is none of ours; write +{name}=VALUE to give it to Lightning's trainer"
    return f"{short(name)}: no such key; {hint(short(name), known, groups(config_name))}"
