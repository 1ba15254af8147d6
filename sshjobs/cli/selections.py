"""The jobs that a call means, read from its flags; remarks and questions on them."""

from __future__ import annotations

import sys

from ..errors import SpecError
from ..model import Job, printable
from ..startup.records import TYPE_CHECKING
from ..verbs.selection import Criteria

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..verbs.fanout import HostResults

    Values = Mapping[str, Any]


def read_criteria_flags(values: Values, *, must_say: str = "") -> Criteria:
    """Return the criteria of a call; keep in sync with ``arguments.SELECT``.

    Args:
        must_say: The verb that does nothing if the call says nothing of its jobs.
    """
    criteria = Criteria(
        jobs=values.get("job") or (),
        hosts=[*(values.get("hosts") or ()), *(values.get("host") or ())],
        names=values.get("name") or (),
        keys=values.get("key") or (),
        states=values.get("state") or (),
        since=values.get("since") or "",
        allow_empty=bool(values.get("allow_empty")),
    )
    if must_say and criteria.is_open and not criteria.hosts:
        raise SpecError(
            f"{must_say}: of which jobs? Give an id, a name, or one of --host, --name, "
            "--key, --state, --since"
        )
    return criteria


def note_if_none_is_active(criteria: Criteria, results: HostResults) -> None:
    """Remark that no job is active, where all that are were meant."""
    if criteria.is_open and not (criteria.allow_empty or results.states):
        where = f" on {', '.join(criteria.hosts)}" if criteria.hosts else ""
        results.notes.append(f"no job is active{where}")


def build_confirmation(values: Values) -> Callable[[Sequence[Job], int], None]:
    """Return a function that shows jobs that are to end, and asks at a terminal.

    It raises KeyboardInterrupt where the answer is not yes.
    """

    def confirm(jobs: Sequence[Job], count: int) -> None:
        from ..display.text import format_job_line

        asks = not values.get("yes") and sys.stdin.isatty() and sys.stderr.isatty()
        lines = [f"sshjobs: {count} jobs are to end:"]
        lines += [f"  {format_job_line(job)}" for job in jobs]
        if count > len(jobs):
            lines.append(f"  and {count - len(jobs)} more")
        print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)
        if not asks:
            return
        print("End them? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("sshjobs: nothing was ended", file=sys.stderr)
            raise KeyboardInterrupt

    return confirm
