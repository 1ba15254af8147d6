"""Carries out put and get, which copy files."""

from __future__ import annotations

import os
import sys

from ..errors import HostUnreachable, JobNotFound, SpecError
from ..model import is_job_id
from ..quoting import quote_if_needed
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

    words = values["file"]
    _refuse_joined_host(values["host"], "put", words)
    if len(words) < 2:
        raise SpecError(
            "the files are missing, and DEST, where they are to go:\n"
            "sshjobs put HOST FILE... DEST"
            if not words
            else "DEST is missing, where the file is to go; . is the login directory:\n"
            f"sshjobs put {values['host']} {quote_if_needed(words[0])} ."
        )
    *sources, target = words
    shows = _may_show_progress(values)
    _print_copied(values, put_files(ctx, values["host"], sources, target, shows=shows))
    return 0


def handle_get(ctx: Context, values: Values) -> int:
    from ..verbs.copy_files import get_files

    words = values["file"]
    patterns, target = (words[:-1], words[-1]) if len(words) > 1 else (words, ".")
    host, base = values["host"], ""
    is_known = any(row.host == host for row in ctx.store.sites.list_sites())
    job = _find_meant_job(ctx, host, is_known)
    if job is not None:
        host, base = job.host, job.cwd
    else:
        _refuse_joined_host(host, "get", words)
    if not patterns:
        raise SpecError(
            f"FILE is missing, the files to bring:\nsshjobs get {host} 'out/*.csv'"
        )
    shows = _may_show_progress(values)
    try:
        copied = get_files(ctx, host, patterns, target, base=base, shows=shows)
    except HostUnreachable as error:
        if job is None and not is_known:
            error.detail += f"; no job is called {host} either"
        raise
    _print_copied(values, copied)
    return 0


def _refuse_joined_host(host: str, verb: str, words: Sequence[str]) -> None:
    """Refuse ``HOST:FILE``, as scp has it; an address of IPv6 has more colons."""
    every = [host, *words]
    # A place there may have a colon, but not if a file stands where HOST does.
    is_file = verb == "put" and os.path.exists(host)
    for word in words[-1:] if is_file else [host]:
        name, _, path = word.partition(":")
        if word.count(":") == 1 and name not in ("ssh", "key", ""):
            every.remove(word)
            every.insert(len(every) if verb == "put" else 0, path or ".")
            rest = " ".join(map(quote_if_needed, [verb, name, *every]))
            raise SpecError(
                f"{word}: HOST comes first, a word of its own:\nsshjobs {rest}"
            )


def _find_meant_job(ctx: Context, word: str, is_known: bool) -> Job | None:
    """Return the job that the first word of a call means, None if it is a host.

    A host that was used before counts as one, whatever jobs are called.
    """
    from ..verbs.selection import find_job

    is_sure = is_job_id(word) or word.startswith("key:")
    if is_known and not is_sure:
        return None
    try:
        return find_job(ctx, word)
    except JobNotFound:
        if is_sure or ctx.store.jobs.find_by_prefix(word):
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
