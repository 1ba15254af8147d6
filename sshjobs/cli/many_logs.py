"""Prints the logs of several jobs: below a line that names each, or behind prefixes."""

from __future__ import annotations

import os
import re
import sys

from .. import states
from ..display.look import Look, find_look
from ..display.text import cut_to_width, format_end, format_job_line, measure_width
from ..errors import SshJobsError
from ..model import Job, name_streams, printable
from ..startup.records import TYPE_CHECKING
from ..store import slices
from ..verbs.context import Context
from ..verbs.logs import LogCopier
from ..verbs.many_logs import LogLines, bring_logs, copy_lines_home, follow_logs
from .output import (
    format_json,
    print_error,
    print_line,
    report_missing_bytes,
    write_to_stdout,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Values = Mapping[str, Any]

#: A label is cut to so many columns; of an id so many letters tell it from others.
_WIDEST, _SHORT_ID = 24, 8

#: Colours of labels, one after another, as ECMA-48 has them; red is for errors.
_PALETTE = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")

#: A change of colour (SGR), which stays in a line on a terminal with colours.
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,40}m")


def print_logs(ctx: Context, values: Values, found: Mapping[str, Sequence[str]]) -> int:
    """Print the logs of jobs; return the exit status.

    Args:
        found: The ids, by connection.
    """
    printer = _LogPrinter(ctx, values, found)
    if values.get("follow"):
        failed = follow_logs(
            ctx,
            found,
            printer.write_lines,
            printer.end_job,
            offset=values.get("offset") or 0,
            tail=values.get("tail"),
            whole=bool(values.get("whole")),
            stderr=bool(values.get("stderr")),
        )
        printer.report_errors(failed)
    else:
        for site_id, failed in bring_logs(ctx, found, whole=bool(values.get("whole"))):
            for some in slices(found[site_id]):
                known = ctx.store.jobs.find_jobs(some)
                for job in filter(None, map(known.get, some)):
                    printer.print_log(job)
            printer.report_errors(failed)
    return printer.status


class _LogPrinter:
    """Prints logs, and remarks on them.

    Attributes:
        status: The exit status so far.
    """

    def __init__(
        self, ctx: Context, values: Values, found: Mapping[str, Sequence[str]]
    ) -> None:
        self._ctx = ctx
        self._values = values
        self._look = find_look(sys.stdout, values.get("color") or "auto", os.environ)
        self._is_first = True
        self._prefixes: dict[str, bytes] = {}
        self.status = 0
        if values.get("follow") or values.get("prefix"):
            labels = build_labels(
                job
                for ids in found.values()
                for some in slices(ids)
                for job in ctx.store.jobs.find_jobs(some).values()
            )
            self._prefixes = build_prefixes(labels, self._look)

    def write_lines(self, job: Job, lines: bytes) -> None:
        """Print whole lines of a job's log, each behind its prefix, in one write.

        A terminal gets them cleaned, so that no job writes over the lines of another.
        """
        prefix = self._prefixes.get(job.id, b"")
        if self._look.is_terminal:
            lines = clean_lines(lines, self._look)
        body = lines.removesuffix(b"\n").replace(b"\n", b"\n" + prefix)
        write_to_stdout(prefix + body + b"\n")

    def print_log(self, job: Job) -> None:
        """Print all of a log that is here."""
        offset, tail = self._values.get("offset") or 0, self._values.get("tail")
        store, stderr = self._ctx.store, bool(self._values.get("stderr"))
        if not self._prefixes:
            words = [job.id, job.name or job.key, job.state, format_end(job)]
            title = printable(" ".join(filter(None, words)))
            start = "" if self._is_first else "\n"
            self._is_first = False
            head = self._look.paint(f"==> {title} <==", "1")
            write_to_stdout(f"{start}{head}\n".encode())
        if self._prefixes or self._look.is_terminal:
            lines = LogLines(store, job, self.write_lines, offset, stderr)
            copy_lines_home(lines, job, tail)
        else:
            stream = name_streams(job)[-1] if stderr else ""
            copier = LogCopier(store, job.id, write_to_stdout, offset, stream=stream)
            copier.copy_home(job, tail)
        self._remark(job)

    def end_job(self, job: Job) -> None:
        """Tell of the end of a job that was followed."""
        self._remark(job)
        if job.state != states.COMPLETED and not self._values.get("json"):
            print_error(format_job_line(job))

    def _remark(self, job: Job) -> None:
        if self._values.get("json"):
            print_line(format_json(job.public()), sys.stderr)
        self.status = report_missing_bytes(job) or self.status

    def report_errors(self, failed: Iterable[SshJobsError]) -> None:
        """Print why logs are not here."""
        for error in failed:
            print_error(str(error))
            self.status = self.status or error.exit_status


def build_labels(jobs: Iterable[Job]) -> dict[str, str]:
    """Return by id a short name of each job that no other one of them has.

    It is the job's name or key, if need be with its host, else with the beginning of
    its id.
    """
    every = list(jobs)
    labels = {job.id: printable(job.name or job.key) or job.id[:8] for job in every}
    for ending in ("host", "id"):
        counts: dict[str, int] = {}
        for label in labels.values():
            short = cut_to_width(label, _WIDEST)
            counts[short] = counts.get(short, 0) + 1
        for job in every:
            if counts[cut_to_width(labels[job.id], _WIDEST)] > 1:
                end = printable(getattr(job, ending))
                end = end[:_SHORT_ID] if ending == "id" else cut_to_width(end, 12)
                room = _WIDEST - measure_width(end) - 1
                name = printable(job.name or job.key) or job.id[:8]
                labels[job.id] = f"{cut_to_width(name, room)} {end}"
    return {job_id: cut_to_width(label, _WIDEST) for job_id, label in labels.items()}


def build_prefixes(labels: Mapping[str, str], look: Look) -> dict[str, bytes]:
    """Return by id the bytes that stand before each line; all are of one width."""
    widest = max(map(measure_width, labels.values()), default=0)
    bar = "│" if look.has_unicode else "|"
    encoding = sys.stdout.encoding or "utf-8"
    prefixes = {}
    for place, (job_id, label) in enumerate(labels.items()):
        text = label + " " * (widest - measure_width(label)) + f" {bar}"
        text = look.paint(text, _PALETTE[place % len(_PALETTE)]) + " "
        prefixes[job_id] = text.encode(encoding, "backslashreplace")
    return prefixes


def clean_lines(lines: bytes, look: Look) -> bytes:
    """Return lines as a terminal may show them behind a prefix.

    Of a line that was written over (by CR) the last version stands; colours stay where
    there are any, and end with their line; other control characters are escaped.
    """
    return b"\n".join(_clean_line(line, look) for line in lines.split(b"\n"))


def _clean_line(line: bytes, look: Look) -> bytes:
    text = line.decode("utf-8", "surrogateescape").rstrip("\r").rpartition("\r")[2]
    text = text.expandtabs()
    parts = _COLOUR.split(text)
    if not look.has_colour:
        return "".join(map(printable, parts)).encode()
    marks = _COLOUR.findall(text)
    shown = [printable(parts[0])]
    for mark, part in zip(marks, parts[1:]):
        shown += (mark, printable(part))
    return "".join([*shown, "\033[0m" if marks else ""]).encode()
