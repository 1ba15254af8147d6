"""A report as one page of HTML that needs nothing else: no network, no script.

Names, commands and logs are a host's or a job's: all of them pass ``escape_text``. The
page's own policy forbids whatever it does not need, so that a mistake in that would
still run nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence

from .. import states
from ..model import Job
from ..verbs.report import MOST_LOGS, Report, is_bad
from .report_chart import (
    build_histogram,
    build_swatch,
    build_timeline,
    find_span,
    measure_run,
)
from .report_text import build_table, clean_log_lines, count_states, escape_text
from .report_traffic import build_traffic
from .text import format_elapsed, format_end, format_instant, format_size, format_span

#: How many of the slowest are named, and lines of a log shown.
_SLOWEST = 12
_LINES = 12

#: So many of those that ended badly are open from the beginning.
_OPEN = 3


def build_page(report: Report) -> str:
    """Return the report as a page."""
    style = _read_style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
    policy += "base-uri 'none'; form-action 'none'"
    shown = len(report.jobs)
    count = f"{shown:,} job{'s' * (shown != 1)}"
    if report.total > shown:
        count = f"the newest {shown:,} of {report.total:,} jobs"
    zone = time.strftime("%Z", time.localtime(report.made_at))
    scope = escape_text(f"{count}, {format_instant(report.made_at)} {zone}")
    title = f"sshjobs report: {report.selection or 'all jobs'}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape_text(title)}</title>",
        f"<style>{style}</style>\n</head>\n<body>",
        f"<header><h1>{escape_text(report.selection or 'All jobs')}</h1>",
        f'<p class="soft">{scope}</p></header>',
    ]
    if report.jobs:
        parts += _yield_sections(report)
    else:
        parts.append("<section><p>No job is in this report.</p></section>")
    parts.append(
        '<footer class="soft">Made by <code>sshjobs report</code>: the record of one '
        "machine, states as they were seen last.</footer>\n</body>\n</html>\n"
    )
    return "\n".join(parts)


def build_picture(report: Report) -> str:
    """Return the timeline alone, as a file of SVG."""
    picture = build_timeline(report.jobs, report.made_at)
    before, mark, after = picture.partition("<defs>")
    return "".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            f"{before}<style>{_read_style()}</style>{mark}{after}\n",
        ]
    )


def _read_style() -> str:
    with open(f"{os.path.dirname(__file__)}/report.css", encoding="utf-8") as file:
        return file.read()


def _yield_sections(report: Report) -> Iterator[str]:
    jobs, now = report.jobs, report.made_at
    counts = count_states(job.state for job in jobs)
    ran = [span for job in jobs for span in [measure_run(job, now)] if span is not None]
    waited = [
        max(0.0, job.started_at - job.submitted_at)
        for job in jobs
        if job.started_at is not None
    ]
    yield _build_tiles(jobs, counts, ran, waited, now)
    legend = "".join(
        f"<li>{build_swatch(state)}{state} {count:,}</li>"
        for state, count in counts.items()
    )
    yield (
        '<section><h2>Timeline by host</h2><div class="scroll">'
        f'{build_timeline(jobs, now)}</div><ul class="legend">{legend}</ul>'
        '<p class="soft">A bar is a job while it ran; the line before it, its wait. '
        "Rest the pointer on a bar to see which job it is.</p></section>"
    )
    if ran:
        yield '<section class="pair">'
        yield from (
            f"<div><h2>{title}</h2>{build_histogram(spans, title)}</div>"
            for title, spans in (
                ("How long jobs ran", ran),
                ("How long jobs waited", waited),
            )
        )
        yield "</section>"
    bad = [job for job in jobs if is_bad(job)]
    if bad:
        yield _build_failures(report, bad)
    yield _build_slowest(jobs, now)
    yield _build_connections(report)
    yield _build_all(jobs, now)


def _build_tiles(
    jobs: Sequence[Job],
    counts: dict[str, int],
    ran: list[float],
    waited: list[float],
    now: float,
) -> str:
    good = counts.get(states.COMPLETED, 0)
    bad = sum(map(is_bad, jobs))
    active = len(jobs) - good - bad
    start = min(job.submitted_at for job in jobs)
    end = max(find_span(job, now)[1] for job in jobs)
    tiles = [
        (f"{len(jobs):,}", "jobs"),
        (f"{good:,}", f"completed, {100 * good / len(jobs):.0f} %"),
        (f"{bad:,}", "ended badly"),
        *([(f"{active:,}", "not ended yet")] if active else []),
        (format_span(max(0.0, end - start)), "from the first submit to the last end"),
        (format_span(sum(ran)), "of running in all"),
    ]
    if ran:
        tiles.append((format_span(statistics.median(ran)), "ran, the median"))
        tiles.append((format_span(statistics.median(waited)), "waited, the median"))
    cells = "".join(
        f"<div><b>{escape_text(figure)}</b>"
        f'<span class="soft">{escape_text(text)}</span></div>'
        for figure, text in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _name_job(job: Job) -> str:
    return job.name or job.key or job.command.strip().partition("\n")[0][:60]


def _mark_state(job: Job) -> str:
    end = "" if job.state == states.COMPLETED else format_end(job)
    text = " ".join(filter(None, (job.state, end)))
    return f'<span class="state">{build_swatch(job.state)}{escape_text(text)}</span>'


def _build_failures(report: Report, bad: list[Job]) -> str:
    shown = bad[-MOST_LOGS:][::-1]
    pieces = [f"<section><h2>Ended badly: {len(bad):,}</h2>"]
    opened = [job.id for job in shown if report.logs.get(job.id)][:_OPEN]
    for job in shown:
        facts = [
            escape_text(_name_job(job)),
            escape_text(job.host),
            escape_text(format_instant(job.finished_at)),
        ]
        facts += [escape_text(job.reason)] if job.reason else []
        pieces.append(
            f"<details{' open' * (job.id in opened)}><summary>{_mark_state(job)} "
            f"<code>{escape_text(job.id)}</code> {' · '.join(facts)}</summary>"
            f'<p class="soft"><code>{escape_text(job.command[:400])}</code></p>'
            f"{_build_log(job, report.logs.get(job.id))}</details>"
        )
    if len(bad) > len(shown):
        pieces.append(f'<p class="soft">and {len(bad) - len(shown):,} older ones</p>')
    return "".join(pieces) + "</section>"


def _build_log(job: Job, data: bytes | None) -> str:
    if data is None:
        return (
            "<p>The end of its log is not on this machine. To bring it: "
            f"<code>sshjobs logs {escape_text(job.id)} --tail 20</code></p>"
        )
    lines = clean_log_lines(data, _LINES)
    if not lines:
        return '<p class="soft">Its log is empty.</p>'
    return f"<pre>{chr(10).join(map(escape_text, lines))}</pre>"


def _build_slowest(jobs: Sequence[Job], now: float) -> str:
    spans = [(measure_run(job, now) or 0.0, job) for job in jobs if job.started_at]
    spans.sort(key=lambda pair: -pair[0])
    rows = [
        (_mark_state(job), _name_job(job), format_span(span), job.host, job.id)
        for span, job in spans[:_SLOWEST]
    ]
    table = build_table(("state", "name", "ran", "host", "job"), rows, "mtnww")
    return f"<section><h2>The slowest</h2>{table}</section>"


def _build_connections(report: Report) -> str:
    """Return the ledger, by time and in all."""
    rows = [
        (
            row.host,
            row.handshakes,
            row.drops,
            row.refusals,
            row.sessions,
            row.rounds,
            format_size(row.bytes_in),
            format_size(row.bytes_out),
            format_instant(row.since),
        )
        for row in report.sites
    ]
    heads = ["host", "connections", "drops", "refusals", "sessions", "rounds"]
    heads += ["bytes in", "bytes out", "since"]
    sessions = sum(row.sessions for row in report.sites)
    made = sum(row.handshakes for row in report.sites)
    return (
        "<section><h2>Connections and sessions</h2>"
        f"<p>{made:,} connections and {sessions:,} sessions have served all jobs of "
        "these hosts, those that are not in this report among them.</p>"
        f"{build_traffic(report.traffic)}"
        f"{build_table(heads, rows, 'tnnnnnnnw')}"
        '<p class="soft">The table is as <code>sshjobs hosts</code>: totals since the '
        "record of a host began.</p></section>"
    )


def _build_all(jobs: Sequence[Job], now: float) -> str:
    rows = []
    for job in reversed(jobs):
        waited = "-"
        if job.started_at is not None:
            waited = format_span(max(0.0, job.started_at - job.submitted_at))
        submitted, ran = format_instant(job.submitted_at), format_elapsed(job, now)
        facts = (_mark_state(job), _name_job(job), ran, waited)
        rows.append((*facts, job.host, submitted, job.id))
    heads = ("state", "name", "ran", "waited", "host", "submitted", "job")
    return (
        f"<section><details><summary>All {len(jobs):,} jobs, newest first</summary>"
        f"{build_table(heads, rows, 'mtnnwww')}</details></section>"
    )
