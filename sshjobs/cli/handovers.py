"""Receiving command lines of other processes, or going on after handing one over.

See :mod:`sshjobs.startup.handover`.
"""

from __future__ import annotations

import sys
from io import StringIO

from ..startup.handover import is_plain_call
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from ..verbs.handover_receiver import HandoverReceiver, find_handed_job
from .job_requests import read_one_job_request
from .manual import find_verb
from .parser import read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..startup.handover import Handover
    from ..verbs.submit import JobRequest


def build_preparation(handover: Handover, host: str) -> Callable[[Context], None]:
    """Return a function that has a submit go on with the result of its handover."""

    def prepare(ctx: Context) -> None:
        listener, job_id, is_interrupted, key = handover
        ctx.handed_id, ctx.is_interrupted = job_id, is_interrupted
        if listener is None:
            ctx.find_handed_job = lambda coordinator: find_handed_job(
                coordinator, job_id, is_interrupted
            )
            return
        ctx.make_receiver = lambda coordinator, own: HandoverReceiver(
            listener,
            key,
            lambda words: _read_words(ctx, host, words),
            coordinator,
            own,
        )

    return prepare


def _read_words(
    ctx: Context, host: str, words: list[str]
) -> tuple[JobRequest, bool] | None:
    verb = find_verb("submit")
    if verb is None or len(words) < 4 or words[1] != host or not is_plain_call(words):
        return None
    stderr, sys.stderr = sys.stderr, StringIO()
    try:
        values = read_arguments(verb, words[1:])
    except SystemExit:  # its own process is to tell the mistake
        return None
    finally:
        sys.stderr = stderr
    return read_one_job_request(ctx, values), bool(values["quiet"])
