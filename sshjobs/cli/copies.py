"""Carries out put and get, which copy files."""

from __future__ import annotations

import sys

from ..errors import JobNotFound, SpecError
from ..model import is_job_id
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from .output import LIVE_LINE, format_json, print_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..model import Job
    from ..verbs.copy_files import Copied

    Values = Mapping[str, Any]


def handle_put(ctx: Context, values: Values) -> int:
    from ..verbs.copy_files import put_files

    *sources, target = values["file"]
    if not sources:
        raise SpecError(
            "DEST is missing, where the files are to go; . is the login directory:\n"
            f"sshjobs put {values['host']} {target} ."
        )
    shows = _may_show_progress(values)
    _print_copied(values, put_files(ctx, values["host"], sources, target, shows=shows))
    return 0


def handle_get(ctx: Context, values: Values) -> int:
    from ..verbs.copy_files import get_files

    words = values["file"]
    patterns, target = (words[:-1], words[-1]) if len(words) > 1 else (words, ".")
    if not patterns:
        raise SpecError("FILE is missing: the files to bring")
    host, base = values["host"], ""
    job = _find_meant_job(ctx, host)
    if job is not None:
        host, base = job.host, job.cwd
    shows = _may_show_progress(values)
    copied = get_files(ctx, host, patterns, target, base=base, shows=shows)
    _print_copied(values, copied)
    return 0


def _find_meant_job(ctx: Context, word: str) -> Job | None:
    """Return the job that the first word of a call means, None if it is a host.

    A host that was used before counts as one, whatever jobs are called.
    """
    from ..verbs.selection import find_job

    is_sure = is_job_id(word) or word.startswith("key:")
    if not is_sure and any(row.host == word for row in ctx.store.hosts()):
        return None
    try:
        return find_job(ctx, word)
    except JobNotFound:
        if is_sure or ctx.store.find(word):
            raise
        return None


def _may_show_progress(values: Values) -> bool:
    """Tell whether a tool may draw its progress on standard error."""
    quiet = values.get("quiet") or values.get("json")
    return not quiet and LIVE_LINE.is_possible()


def _print_copied(values: Values, copied: Sequence[Copied]) -> None:
    if values.get("json"):
        for one in copied:
            print_line(format_json(one._asdict()))
        sys.stdout.flush()


HANDLERS: dict[str, Callable[[Context, Values], int]] = {
    "put": handle_put,
    "get": handle_get,
}
