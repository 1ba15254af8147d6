"""The second log of a job that was submitted with --split: where it is printed."""

from __future__ import annotations

from ..model import STDERR, Job
from ..startup.records import TYPE_CHECKING
from .output import (
    print_error,
    wait_for_stdout,
    write_some_to_stdout,
    write_to_stdout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..verbs.logs import Second

    Values = Mapping[str, Any]


def write_some_to_stderr(view: memoryview) -> int:
    """Write no more than standard error takes at once; return how many bytes."""
    return write_some_to_stdout(view, 2)


def wait_for_stderr() -> None:
    """Wait until standard error takes some bytes, or is closed."""
    wait_for_stdout(2)


def choose_stream(job: Job, values: Values) -> str:
    """Return which log of a job ``logs`` is to print: STDERR or ""."""
    if values.get("stderr") and job.stderr_bytes is None:
        print_error(
            f"job {job.id} has one log, with standard error in it: it was submitted "
            "without --split"
        )
    return STDERR if values.get("stderr") and job.stderr_bytes is not None else ""


def find_second(job: Job, values: Values) -> Second | None:
    """Return what takes a job's standard error beside its standard output, if so."""
    if values.get("stderr") or job.stderr_bytes is None:
        return None
    return _write_to_stderr, values.get("offset") or 0


def _write_to_stderr(data: bytes | memoryview) -> None:
    write_to_stdout(data, 2)
