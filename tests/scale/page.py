"""The figures of a run as Markdown, and their place in the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.scale.clients import Crowd
from tests.scale.simulation import Phase

_HEAD = "| part | s | CPU s | hosts' CPU s | CPU a job | rounds | peak | store |"
_RULE = "|---|--:|--:|--:|--:|--:|--:|--:|"


def describe_phases(phases: Sequence[Phase], hosts: int, jobs: int, about: str) -> str:
    """Return the table of a simulation."""
    lines = [f"{hosts:,} hosts with {jobs:,} jobs each; {about}.", "", _HEAD, _RULE]
    for phase in phases:
        each = 1e6 * (phase.cpu - phase.host_cpu) / (hosts * jobs)
        cells = (
            phase.name,
            f"{phase.wall:,.1f}",
            f"{phase.cpu:,.1f}",
            f"{phase.host_cpu:,.1f}",
            f"{each:,.1f} µs",
            f"{phase.rounds:,}",
            f"{phase.peak_bytes / 1e6:,.0f} MB",
            f"{phase.store_bytes / 1e6:,.0f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_crowd(crowd: Crowd, about: str) -> str:
    """Return the table of many client machines."""
    rows = (
        ("all have submitted a job", f"{crowd.submit_wall:,.1f} s"),
        ("processor time of a submit", f"{crowd.submit_cpu / crowd.clients:.2f} s"),
        ("submits that failed", f"{crowd.failed}"),
        ("connections that the host looked at", f"{crowd.connections:,}"),
        ("connections that it dropped (MaxStartups)", f"{crowd.drops:,}"),
        ("sessions a second while all wait", f"{crowd.idle_sessions:.1f}"),
        (
            "processor time of all that wait, a second",
            f"{crowd.wait_cpu * 1e3:,.0f} ms",
        ),
        (
            "from the end of all jobs to that of the last wait",
            f"{crowd.end_wall:.1f} s",
        ),
        ("memory of a wait", f"{crowd.wait_bytes / 1e6:.1f} MB"),
        ("memory of a connection on its client", f"{crowd.master_bytes / 1e6:.1f} MB"),
        ("memory of a connection on the host", f"{crowd.server_bytes / 1e6:.1f} MB"),
    )
    lines = [f"{crowd.clients:,} client machines; {about}.", "", "| | |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)])


def put_block(text: str, name: str, block: str) -> str:
    """Return a page with the block of this name replaced.

    Raises:
        ValueError: the page has no such block.
    """
    begin, end = f"<!-- {name}: written by inv scale -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    found, count = pattern.subn(lambda _: f"{begin}\n\n{block}\n\n{end}", text)
    if count != 1:
        raise ValueError(f"the page has {count} blocks {name}")
    return found
