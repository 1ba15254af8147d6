"""The flags of ssh that say where HOST is, as settings."""

from __future__ import annotations

import os

from ..errors import SpecError
from ..quoting import join_words, quote_for_config
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Values = Mapping[str, Any]


def build_ssh_settings(values: Values) -> dict[str, Any]:
    """Return the settings that ``-p -l -i -J -F -o`` of a call make.

    Raises:
        SpecError: a path is empty, or the call names no host, or several.
    """
    flags = {}
    if values.get("F") == "" or "" in (values.get("i") or ()):
        raise SpecError("arguments -F and -i: a path is empty")
    if values.get("F"):
        flags["ssh_config"] = values["F"]
    named = (("p", "Port"), ("l", "User"), ("J", "ProxyJump"))
    words = [f"{name}={values[f]}" for f, name in named if values.get(f) is not None]
    keys = [_make_path_absolute(path) for path in values.get("i") or ()]
    words += [f"IdentityFile={quote_for_config(path)}" for path in keys]
    words += values.get("o") or ()
    if words:
        flags["ssh_options"] = join_words(words)
    hosts = values.get("host") or values.get("hosts")
    if not hosts:
        raise SpecError("-p, -l, -i, -J, -F and -o say where a host is: name it")
    if isinstance(hosts, list) and len(hosts) > 1 and "command" not in values:
        raise SpecError("-p, -l, -i, -J, -F and -o say where one host is, not several")
    return flags


def _make_path_absolute(path: str) -> str:
    """Return the absolute path of a key: another process may use it elsewhere."""
    if path[0] in "/~%$":
        return path
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise SpecError(
            f"argument -i: {path!r} is relative to this directory, which is gone"
        ) from error
