"""Reads the value that a user gave to a setting; imported once somebody gives one."""

from __future__ import annotations

import os

from .errors import SpecError
from .model import CLEANUP, LAUNCHERS, seconds
from .startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .settings import Setting

_CHOICES = {
    "cleanup": CLEANUP,
    "shell_startup": ("ssh", "login", "none"),
    "watch": ("auto", "off"),
    "launcher": LAUNCHERS,
    "transport": ("auto", "openssh", "fabric"),
    "mux": ("auto", "native", "ssh"),
}

_KIND_NAMES = {
    "seconds": "a span of time",
    "count": "a count",
    "bytes": "a number of bytes",
    "words": "a text or a list of texts",
    "switch": "true or false",
}

#: The words for a switch in the environment.
_SWITCHES = dict.fromkeys(("true", "yes", "on", "1"), True)
_SWITCHES |= dict.fromkeys(("false", "no", "off", "0"), False)

#: No number of ours is as large; a span of so many seconds is 317 years.
_MOST = 1e10


def read_value(setting: Setting, given: Any) -> Any:
    """Turn the user's value into the setting's own type, or raise the reason."""
    try:
        value = convert_value(setting, given)
    except (LookupError, ValueError, TypeError, OverflowError) as error:
        kind = _KIND_NAMES.get(setting.kind, "a text")
        raise SpecError(f"{setting.name}: not {kind}: {given!r}") from error
    if setting.kind in ("seconds", "count", "bytes"):
        if value < setting.least:
            raise SpecError(f"{setting.name}: {given!r} is below {setting.least:g}")
        if not value < _MOST:
            raise SpecError(f"{setting.name}: {given!r} is above {_MOST:,.0f}")
    if setting.name == "remote_base_dir" and not _is_base_dir(value):
        raise SpecError(
            f"{setting.name}: not a directory, nor ~ or ~/DIR, which is all that a "
            f"host puts there (no variable, no ~NAME): {given!r}"
        )
    allowed = _CHOICES.get(setting.name)
    if allowed and value not in allowed:
        raise SpecError(f"{setting.name}: {given!r} is not one of {', '.join(allowed)}")
    return value


def _is_base_dir(base: str) -> bool:
    """Tell whether a host can make it out: ``~`` and ``~/DIR``, and no ``~NAME``.

    Nothing else is expanded there, so that ``$SCRATCH/x`` would be a directory of that
    very name.
    """
    if not base.strip() or "`" in base:
        return False
    after = [part[:1] for part in base.split("$")[1:]]
    if any(char.isalnum() or char in ("_", "{", "(") for char in after):
        return False
    return base[0] != "~" or base[1:2] in ("", "/")


def suggest_setting(name: str, known: Iterable[str]) -> str:
    """Return a question that names the setting most like one, or where all stand."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"; is it {near[0]}?" if near else "; see docs/reference/settings.md"


def check_tables(
    config: Mapping[str, Any], settings_class: Callable[..., object]
) -> None:
    """Refuse tables of hosts and pools with a mistake: ``settings.check_config``."""
    _check_host_tables(config.get("host", {}), settings_class)
    _check_pools(config.get("pools", {}))


def _check_host_tables(tables: Any, settings_class: Callable[..., object]) -> None:
    if not isinstance(tables, dict):
        raise SpecError('host: not a table; a host has a table: [host."NAME"]')
    from .host_names import check_host

    for host, table in tables.items():
        try:
            if not isinstance(table, dict):
                raise SpecError("not a table")
            check_host(host)
            settings_class(**table)
        except SpecError as error:
            raise SpecError(f'[host."{host}"]: {error}') from error


def _check_pools(tables: Any) -> None:
    """Refuse all but ``[pools.NAME]`` with ``hosts``, an array, each named once."""
    if not isinstance(tables, dict):
        raise SpecError("pools: not a table; a pool has a table: [pools.NAME]")
    for name, table in tables.items():
        try:
            _check_pool(name, table)
        except SpecError as error:
            raise SpecError(f"[pools.{name}]: {error}") from error


def _check_pool(name: str, table: Any) -> None:
    from .host_names import check_host

    plain = name.replace("-", "a").replace("_", "a").replace(".", "a")
    if not (plain.isascii() and plain.isalnum()) or name[0] in "-.":
        raise SpecError("a pool is named with letters, digits, - _ and .")
    if not isinstance(table, dict):
        raise SpecError("not a table")
    odd = sorted(set(table) - {"hosts"})
    if odd:
        raise SpecError(f"a pool has hosts and nothing else, not {odd[0]!r}")
    hosts = table.get("hosts")
    if not (isinstance(hosts, list) and all(isinstance(host, str) for host in hosts)):
        raise SpecError('hosts: an array of hosts is wanted: hosts = ["NAME", "NAME"]')
    if not hosts:
        raise SpecError("hosts: there is none")
    for host in hosts:
        check_host(host)
        if hosts.count(host) > 1:
            raise SpecError(f"hosts: {host!r} stands twice")


def convert_value(setting: Setting, given: Any) -> Any:
    if setting.kind == "seconds":
        return _convert_seconds(given)
    if setting.kind in ("count", "bytes"):
        return _convert_count(given)
    if setting.kind == "switch":
        return given if isinstance(given, bool) else _SWITCHES[str(given).lower()]
    if setting.kind == "words" and isinstance(given, (list, tuple)):
        return " ".join(_convert_text(word) for word in given)
    return _convert_text(given)


def _convert_seconds(given: Any) -> float:
    if isinstance(given, str):
        return seconds(given)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(given)
    if given != given:
        raise ValueError(given)
    return float(given)


def _convert_count(given: Any) -> int:
    if isinstance(given, str):
        given = given.strip()
        if not (given.isascii() and given.removeprefix("-").isdigit()):
            raise ValueError(given)
        return int(given) if len(given) < 30 else 10**30
    if isinstance(given, bool) or int(given) != given:
        raise TypeError(given)
    return int(given)


def _convert_text(given: Any) -> str:
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str) or "\0" in given or "\n" in given:
        raise TypeError(given)
    return given


def find_absolute(path: Any) -> str:
    """Return the path of an ssh_config from everywhere; others will use it, too."""
    try:
        return os.path.abspath(os.path.expanduser(str(path)))
    except FileNotFoundError as error:
        raise SpecError(
            f"ssh_config: {path!r} is relative to this directory, which is gone: "
            "give an absolute path"
        ) from error
