"""The values of a configuration, each looked at alone: what is missing, not resolved, or fits nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from orthotrace.core.errors import UserError, short

MISSING = "???"
FLOAT32 = 3.4028234663852886e38
# Whose classes take finite numbers alone; one of the user's own may want an infinite one.
FINITE = ("orthotrace.", "torch.")


def checked_values(config: DictConfig) -> dict[str, Any]:
    """The values of a composed configuration without Hydra's own, as dictionaries and lists.

    Raises:
        UserError: names the first key that is missing, cannot be resolved, or has a value that no key takes: NaN, an
            infinite or too large number, a text that no file can hold.

    Example:
        >>> checked_values(OmegaConf.create({"seed": 0, "seeds": {"init": "${seed}"}}))
        {'seed': 0, 'seeds': {'init': 0}}
        >>> checked_values(OmegaConf.create({"optimizer": {"lr": float("nan")}}))
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: optimizer.lr: input should be a finite number (got nan)
    """
    if absent := next(_missing(config), None):
        raise is_missing(absent)
    values = _resolved(config)
    for key, value in values.items():
        _check(key, "", True)
        _check(value, short(key), True)
    return values


def is_missing(path: str) -> UserError:
    """The error of a key without a value."""
    return UserError(f"is missing; write {path}=VALUE", path)


def _missing(config: DictConfig, path: str = "") -> Iterator[str]:
    """The keys whose value is "???"; without that of a concept layer, which has a line of its own."""
    keys: list[Any] = list(config)
    for key in keys:
        place = f"{path}.{key}" if path else str(key)
        if place in ("hydra", "concepts.layer") or OmegaConf.is_interpolation(config, key):
            continue
        node = config._get_node(key)
        if OmegaConf.is_missing(config, key):
            yield place
        elif isinstance(node, DictConfig) and not node._is_none():
            yield from _missing(node, place)


def _resolved(config: DictConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    keys: list[Any] = list(config)
    for key in keys:
        if key == "hydra":
            continue
        try:
            node = config._get_node(key)
            whole = OmegaConf.is_config(node) and not OmegaConf.is_interpolation(config, key)
            value = node if whole else config[key]
            found[str(key)] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException as error:
            place = short(str(error.full_key or key))
            raise UserError(f"cannot be resolved: {short(str(error).splitlines()[0], 200)}", place) from error
    return found


def _check(value: Any, path: str, finite: bool) -> None:
    if isinstance(value, Mapping):
        finite = finite and str(value.get("_target_", FINITE[0])).startswith(FINITE)
        for key, one in value.items():
            _check(key, path, finite)
            _check(one, f"{path}.{short(str(key))}", finite)
    elif isinstance(value, list):
        for one in value:
            _check(one, path, finite)
    elif value == MISSING and path != "concepts.layer":
        raise is_missing(path)
    elif isinstance(value, float) and finite and not abs(value) < float("inf"):
        raise UserError(f"input should be a finite number (got {value})", path)
    elif isinstance(value, float) and finite and abs(value) > FLOAT32:
        raise UserError(f"is too large for a float32 (got {value})", path)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError(f"is too large for 64 bits (got {short(str(value))})", path)
    elif isinstance(value, str) and ("\0" in value or (not value.isascii() and _is_no_text(value))):
        raise UserError(f"is no text in UTF-8 (got {short(repr(value))})", path)


def _is_no_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
