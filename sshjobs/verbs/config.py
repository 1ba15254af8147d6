"""The config file: where it lies, and what stands in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from .. import errors
from ..owned import check_config as check_config_file
from ..startup.records import TYPE_CHECKING
from ..store import login_home

if TYPE_CHECKING:
    from typing import Any


def read_config(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the config file, parsed; empty if there is none.

    Source: ``SSHJOBS_CONFIG``, else ``~/.config/sshjobs/config.toml``.
    """
    path = environ.get("SSHJOBS_CONFIG") or _find_config_path()
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            check_config_file(path, file.fileno())
            text = file.read()
    except FileNotFoundError as error:
        if environ.get("SSHJOBS_CONFIG"):
            raise errors.SpecError(f"SSHJOBS_CONFIG: {path}: no such file") from error
        return {}
    except OSError as error:
        raise errors.SpecError(f"{path}: {error.strerror}") from error
    try:
        return _parse_toml(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise errors.SpecError(f"{path}: {error}") from error


def _parse_toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    values: dict[str, Any] = tomllib.loads(text)
    return values


def _find_config_path() -> str:
    home = login_home()
    return os.path.join(home, ".config", "sshjobs", "config.toml") if home else ""
