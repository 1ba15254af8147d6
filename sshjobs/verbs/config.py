"""The config file: its place.

What is in it is read by :mod:`.config_text`, which no start without one imports.
"""

from __future__ import annotations

import os

from .. import errors
from ..owned import check_config as check_config_file
from ..startup.records import TYPE_CHECKING
from ..store import login_home

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def read_config(environ: Mapping[str, str], home: str = "") -> Mapping[str, Any]:
    """Return the config file, parsed; empty if there is none.

    Args:
        home: Where the parsed values are kept for the next process, if it is there.

    Source: ``SSHJOBS_CONFIG``, else ``~/.config/sshjobs/config.toml``.
    """
    path = environ.get("SSHJOBS_CONFIG", "")
    if not path and (login := login_home()):
        path = os.path.join(login, ".config", "sshjobs", "config.toml")
    if not path:
        return {}
    try:
        with open(path, "rb", buffering=0) as file:
            check_config_file(path, file.fileno())
            from .config_text import read_values

            return read_values(path, file, home)
    except FileNotFoundError as error:
        if environ.get("SSHJOBS_CONFIG"):
            raise errors.SpecError(f"SSHJOBS_CONFIG: {path}: no such file") from error
        return {}
    except OSError as error:
        raise errors.SpecError(f"{path}: {error.strerror}") from error
