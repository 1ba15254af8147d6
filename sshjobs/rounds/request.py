"""One request to a host: every open intent, within bounds."""

from __future__ import annotations

from .. import errors, protocol, states
from ..model import LIMIT, Job, name_streams
from ..startup.records import TYPE_CHECKING, Record
from ..store import Intent, Store
from .log_state import (
    LOG_PIECE_BYTES,
    LONG,
    LONG_PIECE_BYTES,
    count_bytes_left,
    is_end_known,
    is_log_home,
    is_log_wanted,
    is_rest_given_up,
    view_log,
)
from .site import Site

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bounds of one request (docs/reference/wire-format.md); the rest waits for the next.
MAX_STARTS = 1000
MAX_PROGRAM_BYTES = 1_000_000
MAX_REAPS = 1000
MAX_REAP_BYTES = 256 * 1024 * 1024  # of log, which both sides sum up
MOST_INTENTS = 1000  # of a kind
MAX_LOGS = 500
MAX_LOG_BYTES = 32 * 1024 * 1024

#: Seconds. The first round of each such span looks at all processes as they are, the
#: others of many jobs only whether there are processes of their numbers. In between, a
#: number may have come to be another's (pid_max(5): after 32768 and more others).
_LOOK_SPAN = 60.0

#: How long a host remembers a reaped or cancelled id, so that an old round cannot
#: start it again. A round lives for seconds; a day is beyond any doubt.
GONE_TTL = 86400.0


class Plan(Record):
    """The intents that a request serves, by kind."""

    starts: list[Intent]
    kills: list[Intent]  # and what is to be forgotten
    reaps: list[Intent]
    waits: list[Intent]  # for a log to come home
    newest: int  # of all that stood open, see IntentTable.find_newest


def expire(site: Site, now: float) -> None:
    """See to intents of processes that died too long ago."""
    store, site_id = site.store, site.site_id
    for intent in store.intents.expire_intents(site_id, site.settings.intent_ttl, now):
        if intent.kind == "start" and intent.sent:
            store.intents.add_intents(site_id, "kill", [intent.job_id], owner=0)
        elif intent.kind == "start":
            store.jobs.update_job(
                intent.job_id,
                state=states.CANCELLED,
                finished_at=now,
                log_final=True,
                reason="never sent: its process ended, and intent_ttl passed",
            )
            store.files.drop_spec(intent.job_id)


def collect_request(site: Site, listing: bool) -> tuple[Plan, protocol.Request]:
    """Return the request of now, inside a transaction; a listing asks about all."""
    store, row = site.store, site.row()
    intents = store.intents.list_open(site.site_id, MOST_INTENTS, row.rounds)
    jobs = store.jobs.find_jobs({intent.job_id for intent in intents})
    kills = [i for i in intents if i.kind == "kill"]
    forgets = [i for i in intents if i.kind == "forget" and i.job_id in jobs]
    forgotten = [jobs[i.job_id] for i in forgets]
    gone = {job.id: protocol.Check(job.id, job.pid, job.start) for job in forgotten}
    starts, job_requests = _choose_starts(site, intents, jobs)
    reaps = _choose_reaps(store, intents, jobs)
    logs = _share_log_bytes(site, row.rounds, intents, jobs)
    wanted = {want.job_id for want in logs}
    waits = [i for i in intents if i.kind in ("log", "reap") and i.job_id in wanted]
    launchers = tuple(filter(None, store.jobs.list_launchers(site.site_id)))
    request = protocol.Request(
        base_dir=site.settings.remote_base_dir,
        journal=(row.journal_gen, row.journal_at) if row.journal_gen else None,
        kills=tuple(dict.fromkeys(i.job_id for i in kills)),
        starts=tuple(job_requests),
        checks=tuple(
            protocol.Check._make(row)
            for row in store.jobs.list_asked(site.site_id)
            if row[0] not in gone
        ),
        reaps=_build_reaps(jobs[job_id] for job_id in {i.job_id: 0 for i in reaps}),
        logs=logs,
        listing=listing,
        start_grace=site.settings.start_grace,
        key_ttl=site.settings.key_ttl,
        gone_ttl=GONE_TTL,
        ends=_choose_awaited_ends(job_requests, wanted),
        forgets=tuple(gone.values()),
        launchers=launchers,
        queue_age=site.queue_age,
        vanish_grace=site.settings.vanish_grace,
        limits=_choose_limits(site, job_requests) if LIMIT in launchers else "",
        by_number=row.round_started_at // _LOOK_SPAN == site.clock() // _LOOK_SPAN,
    )
    kills += forgets
    store.intents.mark_sent(i.id for i in [*kills, *starts, *reaps] if not i.sent)
    newest = max((intent.id for intent in intents), default=0)
    return Plan(starts, kills, reaps, waits, newest), request


def _choose_limits(site: Site, job_requests: list[protocol.Start]) -> str:
    """Return the limits that the host is told: our settings, and those of batches.

    A host hears of them whenever it is asked about a job that waits its turn there, so
    that a limit that was raised holds from the next round on.
    """
    from ..launchers.limit import build_limits

    return build_limits(site.settings, (start.spec for start in job_requests))


#: For the ends of so many jobs at most a round of starts waits a moment.
_MOST_ENDS = 4


def _choose_awaited_ends(
    job_requests: list[protocol.Start], wanted: set[str]
) -> tuple[str, ...]:
    """Choose for whose end the host waits a moment: short jobs that are followed.

    In a crowd nobody is kept waiting; the watch tells of ends there.
    """
    ids = [
        job_request.job_id
        for job_request in job_requests
        if job_request.job_id in wanted
    ]
    return tuple(ids) if len(job_requests) <= _MOST_ENDS else ()


def _choose_reaps(
    store: Store, intents: list[Intent], jobs: dict[str, Job]
) -> list[Intent]:
    """Choose jobs that may be deleted on the host: all of the log is here, for good."""
    reaps: list[Intent] = []
    size = 0
    for intent in intents:
        if intent.kind != "reap" or not is_log_home(jobs.get(intent.job_id)):
            continue
        job = jobs[intent.job_id]
        size += job.log_local_bytes + job.stderr_local_bytes
        if len(reaps) == MAX_REAPS or (reaps and size > MAX_REAP_BYTES):
            break
        reaps.append(intent)
    short = store.sync_logs([jobs[i.job_id] for i in reaps])
    return [intent for intent in reaps if intent.job_id not in short]


def _build_reaps(jobs: Iterable[Job]) -> tuple[protocol.Reap, ...]:
    """Return how long the logs of each may be on the host if they are to go there.

    The host hears of a second log before the first, which brings its job's end.
    """
    return tuple(
        protocol.Reap(
            job.id,
            protocol.ANY_LOG if is_rest_given_up(log) else log.log_local_bytes,
            stream=stream,
        )
        for job in jobs
        for stream, log in ((s, view_log(job, s)) for s in name_streams(job)[::-1])
    )


def _choose_starts(
    site: Site, intents: list[Intent], jobs: dict[str, Job]
) -> tuple[list[Intent], list[protocol.Start]]:
    """Choose jobs to start, within the bounds of a request."""
    chosen: list[Intent] = []
    job_requests: list[protocol.Start] = []
    seen: set[str] = set()
    size = 0
    for intent in intents:
        if intent.kind != "start" or intent.job_id in seen:
            continue
        job = jobs.get(intent.job_id)
        spec = site.store.files.find_spec(job)
        if job is None or spec is None or states.is_final(job.state):
            _serve_nothing(site, intent, job)
            continue
        if intent.note:
            from ..launchers.before import add_after

            spec = add_after(spec, intent.note.split())
        job_request = protocol.Start(job.id, spec, job.key, job.once, job.name)
        size += spec.size()
        if chosen and (len(chosen) >= MAX_STARTS or size > MAX_PROGRAM_BYTES):
            break
        seen.add(job.id)
        chosen.append(intent)
        job_requests.append(job_request)
    return chosen, job_requests


def _serve_nothing(site: Site, intent: Intent, job: Job | None) -> None:
    """Close an intent to start for which there is nothing to do, or nothing left."""
    if job is None or states.is_final(job.state):
        site.store.intents.serve_intents([intent.id])
        return
    error = errors.JobError(job.id, "its spec is gone from this machine, or damaged")
    site.store.intents.fail_intents([intent.id], error)
    if not intent.sent:
        site.store.jobs.drop_job(job.id)


def _share_log_bytes(
    site: Site, rounds: int, intents: list[Intent], jobs: dict[str, Job]
) -> tuple[protocol.LogWant, ...]:
    """Share the bytes of one reply among all that want log."""
    wanted = {}
    for intent in intents:
        job = jobs.get(intent.job_id)
        if intent.kind in ("log", "reap") and job and is_log_wanted(job):
            wanted[job.id] = job
    chosen = list(wanted.values())
    turn = rounds * MAX_LOGS % max(1, len(chosen))
    chosen = (chosen[turn:] + chosen[:turn])[:MAX_LOGS]
    count = max(1, sum(len(name_streams(job)) for job in chosen))
    share = min(LOG_PIECE_BYTES, MAX_LOG_BYTES // count)
    piece = max(site.settings.log_chunk_size, share)
    room = site.measure_room() if chosen else 0
    piece = min(piece, room // count)  # the disk keeps its floor
    if not piece:
        return ()
    return tuple(
        protocol.LogWant(
            job.id, log.log_local_bytes, _limit_piece(site, log, piece, room), stream
        )
        for job in map(site.store.check_log, chosen)
        for stream, log in ((s, view_log(job, s)) for s in name_streams(job))
    )


def _limit_piece(site: Site, job: Job, piece: int, room: int) -> int:
    """Return how many bytes of a log to ask for; an ended job's has a last byte."""
    if job.max_log_bytes:
        piece = min(piece, job.max_log_bytes - job.log_local_bytes)
    if min(count_bytes_left(job), room) >= LONG and job.id not in site.unfetched:
        return min(piece, LONG_PIECE_BYTES)
    return min(piece, count_bytes_left(job)) if is_end_known(job) else piece
