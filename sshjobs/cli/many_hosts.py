"""Carries out run and submit on several hosts, and prints what belongs to which."""

from __future__ import annotations

import _thread
import os
import sys

from .. import states
from ..display.look import find_look
from ..display.text import cut_to_width, format_end, format_job_line
from ..errors import Interrupted, NotYet, SpecError, SshJobsError
from ..model import printable
from ..startup.contexts import closing
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from ..verbs.many_hosts import HostOutcome, ManyHosts
from ..verbs.many_logs import LONGEST_LINE
from ..verbs.run import exit_status_of
from .host_lists import read_hosts
from .job_requests import read_job_request_of_each
from .many_logs import build_prefixes, clean_lines
from .output import (
    LIVE_LINE,
    format_json,
    print_error,
    print_line,
    report_missing_bytes,
    warn_of_other_command,
    write_to_stdout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ..model import Job
    from ..verbs.submit import Submitted

    Values = Mapping[str, Any]

#: A label is cut to so many columns; so many hosts, or ids, are named in a line.
_WIDEST, _NAMED = 32, 8
_COPIED = 20

#: The words of the summary, in its order: by state, else by exit status.
_WORDS: dict[str | int, str] = {
    states.COMPLETED: "succeeded",
    states.FAILED: "failed",
    states.TIMEOUT: "timed out",
    states.CANCELLED: "cancelled",
    states.LOST: "lost",
    "started": "started",
    "there": "there already",
    "left": "interrupted",
    69: "unreachable",
    75: "not known yet",
    77: "refused the login",
    0: "with an error",
}

#: Those of them of which each host need not be named.
_GOOD = (states.COMPLETED, "started", "there")


class HostLines:
    """Takes the bytes of one host's log, and prints its lines whole, behind its name.

    It holds no more than one piece of :data:`LONGEST_LINE`.

    Args:
        file: 1 for standard output, 2 for standard error.
    """

    def __init__(self, prefix: bytes, printer: _Printer, file: int = 1) -> None:
        self._file = file
        self._prefix = prefix
        self._printer = printer
        self._half = b""

    def take(self, view: memoryview) -> int:
        """Take some bytes; return how many."""
        piece = view[:LONGEST_LINE]
        data = self._half + piece
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= LONGEST_LINE:
            end = len(data)
        if end:
            self._printer.write_lines(self._prefix, data[:end], self._file)
        self._half = data[end:]
        return len(piece)

    def end(self) -> None:
        """Print the half of a line that is left."""
        if self._half:
            self._printer.write_lines(self._prefix, self._half, self._file)
        self._half = b""


class _Printer:
    """Prints the output and the outcome of each host.

    Attributes:
        hosts: All of them.
        status: The largest exit status so far.
    """

    def __init__(
        self, ctx: Context, values: Values, hosts: Sequence[str], is_run: bool
    ) -> None:
        self._ctx = ctx
        self._values = values
        self._is_run = is_run
        # The standard output of a run is that of its jobs.
        self._facts = sys.stderr if is_run else sys.stdout
        self._look = find_look(sys.stdout, values.get("color") or "auto", os.environ)
        labels = {host: cut_to_width(printable(host), _WIDEST) for host in hosts}
        prefixes = build_prefixes(labels, self._look)
        self._lines = {
            (host, file): HostLines(prefixes[host], self, file)
            for host in hosts
            for file in (1, 2)
        }
        self._lock = _thread.allocate_lock()
        self._is_cancel_told = False
        self.hosts = hosts
        self.status = 0

    def write_lines(self, prefix: bytes, lines: bytes, file: int) -> None:
        """Print whole lines of one host in one write."""
        if self._look.is_terminal:
            lines = clean_lines(lines, self._look)
        body = lines.removesuffix(b"\n").replace(b"\n", b"\n" + prefix)
        write_to_stdout(prefix + body + b"\n", file)

    def open_sink(self, host: str, file: int) -> Callable[[memoryview], int]:
        """Return what takes the bytes of a host's log, or of its second log (2)."""
        return self._lines[host, file].take

    def tell_start(self, host: str, done: Submitted) -> None:
        """Name the job of a host."""
        assert done.job is not None
        warn_of_other_command(done)
        if self._values.get("json") and not self._is_run:
            self._print_fact(format_json(done.job.public()))
        elif not self._values.get("quiet"):
            self._print_fact(f"{done.job.id}  {printable(host)}")

    def _print_fact(self, text: str) -> None:
        print_line(text, self._facts)
        self._facts.flush()

    def tell_cancel(self, job: Job) -> None:
        """Say once that all jobs are being cancelled."""
        with self._lock:
            if self._is_cancel_told:
                return
            self._is_cancel_told = True
        grace = self._ctx.settings(job.host).kill_grace
        print_error(
            f"the jobs are being cancelled: TERM, and KILL after {grace:g} s; their "
            "logs go on. Ctrl-C again leaves that to their hosts"
        )

    def show_outcome(self, outcome: HostOutcome) -> None:
        """Print the rest of a host's log, and its end."""
        for file in (1, 2):
            self._lines[outcome.host, file].end()
        self.status = max(self.status, self._find_status(outcome))
        as_json, job = self._values.get("json"), outcome.job
        if outcome.error is not None:
            self._show_error(outcome.host, outcome.error)
        elif job is not None and self._is_run and not outcome.signum:
            report_missing_bytes(job)
            if as_json:
                self._print_fact(format_json(job.public()))
            elif job.state != states.COMPLETED:
                print_error(format_job_line(job))

    def _show_error(self, host: str, error: SshJobsError) -> None:
        text = str(error)
        print_error(text if host in text else f"{host}: {text}")
        ids = error.job_ids if isinstance(error, NotYet) else ()
        if self._values.get("json"):
            job_id = "".join(ids[:1]) or None
            fact = {"host": host, "id": job_id, "error": text}
            self._print_fact(format_json(fact))
        else:
            for job_id in ids:
                self._print_fact(f"{job_id}  {printable(host)}")

    def _find_status(self, outcome: HostOutcome) -> int:
        """Return the status with which the same call on this one host would end."""
        if outcome.error is not None:
            return outcome.error.exit_status
        if outcome.signum:
            return 128 + outcome.signum
        return exit_status_of(outcome.job) if self._is_run and outcome.job else 0

    def print_summary(self, outcomes: Sequence[HostOutcome]) -> None:
        """Print how many hosts there are of each outcome, and name the bad ones."""
        found: dict[str | int, list[str]] = {}
        kind: str | int
        for outcome in outcomes:
            kind, name = self._classify(outcome)
            found.setdefault(kind, []).append(name)
        parts = []
        for kind, word in _WORDS.items():
            names = found.get(kind, [])
            if names and kind not in _GOOD:
                more = len(names) - _NAMED
                rest = f" and {more} more" if more > 0 else ""
                parts.append(f"{len(names)} {word} ({', '.join(names[:_NAMED])}{rest})")
            elif names:
                parts.append(f"{len(names)} {word}")
        count = f"{len(outcomes)} host" + "s" * (len(outcomes) > 1)
        look = find_look(sys.stderr, "never", os.environ)
        print_error(f"{count}: {(' · ' if look.has_unicode else ', ').join(parts)}")

    def _classify(self, outcome: HostOutcome) -> tuple[str | int, str]:
        """Return the kind of an outcome, and the words for the host in the summary."""
        host, job = outcome.host, outcome.job
        if outcome.error is not None:
            status = outcome.error.exit_status
            return (status if status in _WORDS else 0), host
        if outcome.signum:
            return "left", host
        if not self._is_run:
            return ("there" if outcome.was_there else "started"), host
        assert job is not None
        end = format_end(job) if job.state == states.FAILED else ""
        return job.state, f"{host}: {end}" if end else host


def run_on_many_hosts(ctx: Context, values: Values) -> int:
    """Carry out a run on several hosts; return the exit status."""
    job_requests = read_job_request_of_each(ctx, values, read_hosts(values))
    printer = _Printer(ctx, values, list(job_requests), is_run=True)
    call = ManyHosts(ctx, job_requests)
    stays = bool(values.get("detach_on_signal"))
    left = "the jobs go on" if stays else "the jobs are cancelled"
    ctx.goal = lambda: (describe_run(call, len(job_requests), left), "runs")
    outcomes = call.run(
        printer.open_sink,
        printer.tell_start,
        printer.tell_cancel,
        detach_on_signal=stays,
    )
    return _show_outcomes(values, call, outcomes, printer)


def describe_run(call: ManyHosts, total: int, left: str) -> str:
    """Return how far a run on several hosts has come, for the line of a terminal.

    Args:
        left: What Ctrl-C does to the jobs.
    """
    # Threads write there: a copy is looked at, of what they have written by now.
    ended, started = dict(call.outcomes), list(call.started)
    if not LIVE_LINE.is_possible() or len(ended) == total:
        return ""
    good = [one.job is not None and one.job.state in _GOOD for one in ended.values()]
    words = [f"{len(ended)}/{total} hosts done"]
    words += [f"{good.count(False)} failed"] * (False in good)
    words += [f"{sum(host not in ended for host in started)} running"]
    return f"{' · '.join(words)}; Ctrl-C: {left}"


def submit_to_many_hosts(ctx: Context, values: Values) -> int:
    """Carry out a submit to several hosts; return the exit status."""
    if values.get("from"):
        raise SpecError(
            "--from goes with one HOST: the lines of FILE are not shared out among "
            "several. Submit FILE, or a part of it, to each; or to a pool of them, "
            "pool:NAME, see docs/how-to/pools.md"
        )
    job_requests = read_job_request_of_each(ctx, values, read_hosts(values))
    printer = _Printer(ctx, values, list(job_requests), is_run=False)
    call = ManyHosts(ctx, job_requests)
    outcomes = call.submit(printer.tell_start)
    return _show_outcomes(values, call, outcomes, printer)


def _show_outcomes(
    values: Values,
    call: ManyHosts,
    outcomes: Iterator[HostOutcome],
    printer: _Printer,
) -> int:
    """Show each outcome as it is known, the summary, and the rest of an interrupt."""
    signum = 0
    try:
        with closing(outcomes) as each:  # type: ignore[type-var]
            for outcome in each:
                printer.show_outcome(outcome)
    except Interrupted as interrupt:
        signum = interrupt.signum
    found = []
    for host in printer.hosts:
        left = HostOutcome(host, call.started.get(host), None, signum or call.signum)
        found.append(call.outcomes.get(host, left))
    if signum or any(outcome.signum for outcome in found):
        signum = signum or call.signum
        printer.status = max(printer.status, 128 + signum)
        print_error(explain_rest(found, call.cancelled))
    if not (values.get("quiet") or values.get("json")):
        printer.print_summary(found)
    return printer.status


def explain_rest(outcomes: Sequence[HostOutcome], cancelled: set[str]) -> str:
    """Return what an interrupted call leaves on which host, and how to come back."""
    groups: dict[str, list[str]] = {}
    ids = []
    for outcome in outcomes:
        words = _describe_leftover(outcome, cancelled)
        if words and outcome.job is not None:
            ids.append(outcome.job.id)
            groups.setdefault(words, []).append(f"{outcome.host} ({ids[-1]})")
        elif words:
            groups.setdefault(words, []).append(outcome.host)
    lines = ["interrupted:" if groups else "interrupted"]
    for words, names in sorted(groups.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"{words}: {', '.join(names[:_NAMED])}{more}")
    if ids:
        which = " ".join(ids) if len(ids) <= _COPIED else "--since 1h"
        lines += ["To look:", f"sshjobs poll {which}"]
    return "\n".join(lines)


def _describe_leftover(outcome: HostOutcome, cancelled: set[str]) -> str:
    """Return in which way a host has something left to do, or had nothing to do."""
    job = outcome.job
    if job is None:
        return "nothing was sent to" if outcome.signum else ""
    if states.is_final(job.state):
        return ""
    if outcome.is_told_to_end:
        return "told to end, and the host sees to that"
    if job.id in cancelled:
        return "NOT cancelled yet; the next command that reaches the host does it"
    return "goes on"
