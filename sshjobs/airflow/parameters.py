"""Parameters of the operators: checked when a DAG is parsed, carried to ``sshjobs``."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from typing import Any

from ..errors import SpecError
from ..model import CLEANUP
from ..settings import BY_NAME, Settings
from .versions import conf

#: Parameters that travel as SSHJOBS_<NAME>; keep in sync with settings.py.
SETTINGS = (
    "remote_base_dir",
    "poll_interval",
    "log_chunk_size",
    "conn_timeout",
    "banner_timeout",
    "conn_retry_attempts",
    "cleanup_retries",
    "command_timeout",
    "max_reconnect_attempts",
    "wait_host",
    "max_log_bytes",
    "launcher",
    "launcher_args",
)

#: Parameters that are flags of ``sshjobs run`` and ``submit``.
FLAGS = ("timeout", "cleanup", "shell", "cwd", "group", "at_most", "priority")

#: What a task may leave as its XCom.
XCOMS = ("last_line", "all", "base64", "none")


def check_parameters(given: Mapping[str, Any]) -> None:
    """Refuse values that cannot be right, while the DAG is parsed.

    A value that a template or another task gives is not known yet, and is let pass.

    Raises:
        ValueError: the message names the parameter.
    """
    if given["remote_os"] not in ("auto", "posix"):
        raise ValueError(
            f"remote_os={given['remote_os']!r}: sshjobs runs jobs on hosts that have a "
            "POSIX sh; for Windows keep SSHRemoteJobOperator of the ssh provider"
        )
    for name, choices in (("cleanup", (None, *CLEANUP)), ("xcom", XCOMS)):
        if given[name] not in choices:
            words = ", ".join(repr(word) for word in choices)
            raise ValueError(f"{name}={given[name]!r}: it is one of {words}")
    for name in ("timeout", "cmd_timeout"):
        value = given[name]
        if value is not None and not (isinstance(value, (int, float)) and value >= 0):
            raise ValueError(f"{name}={value!r}: it is a number of seconds, or None")
    _check_number("at_most", given["at_most"], 0)
    _check_number("priority", given["priority"])
    if given["get_pty"]:
        warnings.warn(
            "get_pty has no effect: sshjobs ends a job with all its processes without "
            "a terminal, and gives it none",
            UserWarning,
            stacklevel=4,
        )
    _check_environment(given["environment"])
    for name in SETTINGS:
        _check_setting(name, given[name])


def _check_environment(value: Any) -> None:
    if isinstance(value, Mapping) or not value or hasattr(value, "resolve"):
        return
    if isinstance(value, str) and "{" in value:  # a template makes a dict of it
        return
    raise ValueError(f"environment={value!r}: it is a dict of names and values")


def _check_number(name: str, value: Any, least: int | None = None) -> None:
    if value is None or isinstance(value, str) and "{" in value:
        return
    if type(value) is not int or least is not None and value < least:
        raise ValueError(f"{name}={value!r}: it is a whole number, or None")


def _check_setting(name: str, value: Any) -> None:
    if value is None or isinstance(value, str) and "{" in value:
        return
    if hasattr(value, "resolve"):  # the XCom of another task
        return
    try:
        Settings(**{name: raise_to_least(name, value)})
    except SpecError as error:
        raise ValueError(f"{name}={value!r}: {error}") from error


def raise_to_least(name: str, value: Any) -> Any:
    """Raise a setting to its least value; 0 tries are 1, as there."""
    least = BY_NAME[name].least
    return max(value, least) if isinstance(value, (int, float)) else value


def collect_codes(given: int | Container[int] | None) -> Container[int]:
    """Return the codes of ``skip_on_exit_code`` as a container.

    Raises:
        ValueError: they are neither a number nor a container of numbers.
    """
    if given is None:
        return ()
    if isinstance(given, (str, bytes)):
        raise ValueError(
            f"skip_on_exit_code={given!r}: it is a number, or a list of them"
        )
    return given if isinstance(given, Container) else (given,)


def is_not_set(value: Any) -> bool:
    """Tell whether a value is Airflow's word for a parameter that was not given."""
    return type(value).__name__ == "ArgNotSet"


def read_default() -> bool:
    """Return whether operators that can defer do so unless they are told."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))
