"""The words for a call that Ctrl-C ended: the work that goes on, the way back to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..startup.records import TYPE_CHECKING
from . import manual

if TYPE_CHECKING:
    from typing import Any

    from ..verbs.context import Context

#: So many ids stand in a command to copy.
_NAMED = 20

#: By verb, the work that its end leaves, where nothing of it was sent.
_LEFT = {
    "submit": "nothing was sent, and nothing will run",
    "run": "nothing was sent, and nothing will run",
    "wait": "the jobs go on. To wait for them again",
    "logs": "the job goes on. To read its log again",
    "rerun": "nothing more is sent, and what was goes on. To go on",
    "kill": "nothing was sent, and no job was told to end. To do it",
    "reap": "what is not reaped yet stays until it is. To go on",
    "connect": "no connection was made. To make it",
    "disconnect": "the connection stays. To end it",
    "put": "what has arrived there stays. To go on",
    "get": "what has arrived here stays. To go on",
}
_ELSE = "nothing was changed. To ask again"


def explain_interrupt(ctx: Context, verb: str, values: Mapping[str, Any]) -> str:
    """Return the rest of an interrupted call, and the command that takes it up."""
    ids = ctx.sent_ids
    if ids and verb in ("submit", "run", "rerun", "kill"):
        count = f"{len(ids)} jobs were" if len(ids) > 1 else "1 job was"
        left = f"{count} told to end, and the host sees to that"
        if verb != "kill":
            left = (
                f"{count} sent, and goes on there"
                if len(ids) == 1
                else (f"{count} sent, and go on there")
            )
        again = f"sshjobs poll {' '.join(ids)}"
        if len(ids) > _NAMED:
            again = "sshjobs poll"
        return f"interrupted: {left}. To look:\n{again}"
    left = _LEFT.get(verb, _ELSE)
    goal = ctx.goal()[0] if ctx.goal is not None else ""
    if goal and verb == "wait" and "Ctrl-C" not in goal:
        left = f"{goal}; {left}"
    if verb in ("submit", "run"):
        return f"interrupted: {left}"
    return f"interrupted: {left}:\n{rebuild_command(verb, values)}"


def rebuild_command(verb: str, values: Mapping[str, Any]) -> str:
    """Return the command line of a call, for a person to copy."""
    from ..quoting import join_words

    return join_words(["sshjobs", verb, *_yield_words(verb, values)])


def _yield_words(verb: str, values: Mapping[str, Any]) -> Iterator[str]:
    known = manual.find_verb(verb)
    for arg in known.args if known else ():
        value = values.get(arg.dest)
        if value == arg.default or value is None:
            continue
        for each in value if isinstance(value, list) else [value]:
            if not arg.is_positional:
                yield arg.name
            if arg.kind == "seconds":
                yield f"{each:g}"
            elif arg.kind != "flag":
                yield str(each)
