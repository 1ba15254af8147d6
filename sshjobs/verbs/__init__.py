"""What sshjobs can do, as plain functions that print nothing.

Each takes a :class:`Context` and returns jobs. A verb writes what it wants into the
store before any contact, then pursues it (``rounds.Party.pursue``); who leads the
round is none of its business. Verbs that span hosts work on them side by side, so
that a dead host costs its own bound and delays no other.

A name is imported when it is first used: a process here lives for fifty
milliseconds, and most use one verb.
"""

from __future__ import annotations

from ..record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .connecting import HostState as HostState
    from .connecting import connect as connect
    from .connecting import disconnect as disconnect
    from .connecting import hosts as hosts
    from .connecting import select as select
    from .context import Context as Context
    from .context import read_config as read_config
    from .ending import kill as kill
    from .examining import Finding as Finding
    from .examining import doctor as doctor
    from .finding import Answer as Answer
    from .finding import find as find
    from .polling import poll as poll
    from .polling import wait as wait
    from .reading import logs as logs
    from .reaping import reap as reap
    from .running import Interrupted as Interrupted
    from .running import exit_status as exit_status
    from .running import run as run
    from .submitting import Order as Order
    from .submitting import Submitted as Submitted
    from .submitting import check_order as check_order
    from .submitting import submit as submit
    from .submitting import submit_each as submit_each

_ROOMS = {
    "connecting": "HostState connect disconnect hosts select",
    "context": "Context read_config",
    "ending": "kill",
    "examining": "Finding doctor",
    "finding": "Answer find",
    "polling": "poll wait",
    "reading": "logs",
    "reaping": "reap",
    "running": "Interrupted exit_status run",
    "submitting": "Order Submitted check_order submit submit_each",
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # importlib is a module more, and brings another: this is what it would call.
    room = __import__(f"{__name__}.{_WHERE[name]}", fromlist=[name])
    value = getattr(room, name)
    globals()[name] = value
    return value
