"""The round: one command on a host that serves all that this machine wants there.

Theory of operation: a verb writes intents into the store and then *pursues* a
need: it looks whether the store already shows it met, and if not, it tries to
lead. Who leads makes sure of the connection first, and only then reads the open
intents, of every process, so that all that gathered during a handshake goes into
one request. It runs the request, writes log bytes to their files as they arrive,
and applies everything else in one transaction, if the lock's generation is still
its own. No transaction is open during a session. Then it rings the bell, and
those whose need is met go home.

A reply that breaks off is not thrown away: each whole frame is a fact. A round
whose outcome is unknown is run again, since every effect on the host is
idempotent under the job's id. What was refused is told apart from what is
unknown: the first costs a cooldown, kept in the store for all processes, the
second counts against ``max_reconnect_attempts``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import NamedTuple

from . import errors, protocol, states, transports
from .errors import SshJobsError, TransportError
from .facts import Ledger, is_home, wants_log
from .locks import Bell, Lead
from .model import Job
from .settings import Settings
from .store import HostRow, Intent, Store
from .watch import Watch, is_watched

#: Bounds of one request (docs/reference/wire-format.md); the rest waits for the next.
MAX_STARTS = 500
MAX_PROGRAM_BYTES = 1_000_000
MAX_REAPS = 1000
MAX_LOGS = 500
MAX_LOG_BYTES = 32 * 1024 * 1024

#: How long a host remembers a reaped or cancelled id, so that an old round cannot
#: start it again. A round lives for seconds; a day is beyond any doubt.
GONE_TTL = 86400.0

#: While others keep arriving, a leader waits for the next of them this long, and
#: for all of them together that long: fifty submits are one session then.
_LULL = 0.08
_GATHER = 1.0

#: A look at the store without a bell, should the leader have died.
_SAFETY = 0.5

#: While a watch is on and tells of nothing, a round this often; and who waits looks
#: this often whether the watch is still there.
_IDLE = 30.0
_LOOK = 3.0

#: With so few jobs, an end that was heard of is asked about at once; with more, their
#: ends share the usual rounds.
_FEW = 4

#: How long a host that refused a session is not watched.
_UNWATCHED = 600.0

#: Between two looks at a job that is prepared and whose process is slow to start.
_PACE = 0.2

#: Where a connection ends with its leader, it goes on for others for so long, through
#: pauses no longer than that, and looks this often for what they want.
_STAY = 30.0
_HOLD = 2.0
_GLANCE = 0.05

#: So many whole rounds at least must have left it as it was, before that is an error.
_TRIES = 3

#: No instant in the store can lie further ahead than this; one that does was
#: written before the clock was set back, and is void.
_HORIZON = 3600.0


class Party:
    """One host, as one thread of one process deals with it.

    Args:
        store: The store, for this thread alone.
        identity: What the host's name resolves to.
        settings: Those in force for the host.
        rundir: The directory of sockets.
        clock: Now, in seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        identity: transports.Identity,
        settings: Settings,
        rundir: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.identity = identity
        self.settings = settings
        self.conn = identity.key
        self.clock = clock
        self.listed: list[protocol.Event] = []
        self.listing = False
        self.listing_done = False
        self._rundir = rundir
        self._bell = Bell(rundir, self.conn)
        self._lead = Lead(
            os.path.join(store.home, "locks"),
            self.conn,
            lambda: self.row().generation,
            self._next_generation,
        )
        self._transport: transports.Transport | None = None
        self._contended = False
        self._stays = transports.ends_with_leader(identity, settings)
        self._waiting = False
        self._watch: Watch | None = None
        store.know_host(self.conn, identity.host)

    def __enter__(self) -> Party:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.stop(self.store)
        self._lead.release()
        self._bell.__exit__()
        self._hang_up()

    def __repr__(self) -> str:
        return f"<Party {self.identity.host} {self.conn}>"

    def row(self) -> HostRow:
        """Return what the store knows of the host now."""
        return self.store.know_host(self.conn, self.identity.host)

    # -- needs -------------------------------------------------------------------

    def served(self, numbers: list[int]) -> Callable[[], float | None]:
        """Return the need that these intents are served.

        It raises once whole rounds have come back for ``start_grace`` and longer
        that said nothing of what was sent (a job that no process on the host takes).
        """
        sent: list[tuple[int, float]] = []

        def need() -> float | None:
            waiting = self.store.outcomes(numbers).values()
            still = [intent for intent in waiting if not intent.done]
            if not still:
                return None
            if not all(intent.sent for intent in still):
                return 0.0
            row = self.row()
            sent.append((row.rounds, self.clock()))
            del sent[1:]
            if row.rounds >= sent[0][0] + _TRIES and self._overdue(sent[0][1]):
                raise self._untaken(len(still))
            return self._void(row.round_ended_at) + _PACE

        return need

    def _overdue(self, since: float) -> bool:
        return abs(self.clock() - since) > self.settings.start_grace

    def _untaken(self, count: int) -> SshJobsError:
        return errors.OutcomeUnknown(
            self.identity.host,
            f"the host answers, and has not taken {count} of what was sent for "
            f"{self.settings.start_grace:g} s",
            "a full disk there, or no more processes allowed (ulimit -u); the setting "
            "is start_grace",
        )

    def fresh(self, since: float) -> Callable[[], float | None]:
        """Return the need of a round that began at ``since`` or later."""

        def need() -> float | None:
            return None if self._void(self.row().round_started_at) >= since else 0.0

        return need

    def paced(
        self, more: Callable[[], bool], *, live: bool = False
    ) -> Callable[[], float | None]:
        """Return the need of a round per ``poll_interval`` while ``more()``.

        Args:
            live: What is waited for also grows without an end (a log); otherwise
                a watch that hears of no end makes rounds rare.
        """

        def need() -> float | None:
            if not more():
                return None
            self._waiting = True
            row = self.row()
            usual = self._void(row.round_started_at) + self.settings.poll_interval
            if not is_watched(row, self.clock()):
                return usual
            if self._void(row.stirred_at) >= row.round_started_at:
                lone = self.store.few_active(self.conn, _FEW)
                return row.stirred_at + _LULL / 4 if lone else usual
            return usual if live else row.round_started_at + _IDLE

        return need

    def _void(self, instant: float) -> float:
        """Return an instant, or 0 if it is further ahead than it can be."""
        return instant if instant <= self.clock() + 1.0 else 0.0

    # -- pursuing ----------------------------------------------------------------

    def pursue(
        self, need: Callable[[], float | None], *, until: float | None = None
    ) -> bool:
        """Lead or wait until a need is met.

        Args:
            need: Returns None once met, else the instant from which on a round is
                wanted for it.
            until: Give up at this instant, without an error.

        Returns:
            Whether the need was met.

        Raises:
            HostUnreachable: the budget of handshakes or of waiting is spent.
            AuthenticationError: only a person can mend that.
            OutcomeUnknown: the budget of broken rounds is spent.
            HostError: the host cannot do what was asked.
        """
        patience = _Patience(self)
        self._contended = False
        while True:
            due = need()
            if due is None:
                return True
            now = self.clock()
            if until is not None and now >= until:
                return False
            due = max(due, patience.next_try(now))
            if now >= due and self._lead_once(patience, need, until):
                continue
            if self._waiting:
                self._listen()
            limit = _SAFETY if now >= due else min(due - now, _LOOK)
            self._bell.wait(limit if until is None else min(limit, until - now))

    def _listen(self) -> None:
        """See to it that one process of this machine hears at once of ends."""
        if self._watch is None and self.settings.watch == "auto" and not self._stays:
            self._watch = Watch(
                self.store.home, self.identity, self.settings, self._rundir
            )
        if self._watch is not None:
            self._watch.start(self.row(), self.clock())

    def _lead_once(
        self,
        patience: _Patience,
        need: Callable[[], float | None],
        until: float | None,
    ) -> bool:
        """Run one round if nobody else leads; tell whether to look again at once.

        It is more than one where the connection ends with us: see :meth:`_go_on`.
        """
        self._bell.hang()
        if not self._lead.acquire():
            self._contended = True
            return False
        try:
            self._serve_round()
            self._tidy()
            patience.succeeded()
            if self._stays:
                self._go_on(need, until)
        except TransportError as error:
            patience.failed(error)
        finally:
            if self._stays:
                self._hang_up()
            self._lead.release()
            self._bell.ring()
        return True

    def _go_on(self, need: Callable[[], float | None], until: float | None) -> None:
        """Keep leading while a round is wanted, since the next leader must log in anew.

        For this process's own need that is as long as it takes, or ``until``; for what
        others want done, not more than :data:`_STAY`. Who wants a log can lead.
        """
        self._bell.ring()
        end = time.monotonic() + _STAY
        while self.row().generation == self._lead.generation:
            mine, theirs = need(), self._asked()
            if mine is not None:
                end = time.monotonic() + _STAY
            now = self.clock()
            due = min(_or_never(mine), _or_never(theirs))
            late = until is not None and now >= until
            if late or due > now + _HOLD or time.monotonic() > end:
                return
            if due > now:
                time.sleep(min(_GLANCE, due - now))
                self._lead.beat()
            else:
                self._serve_round()
                self._tidy()
                self._bell.ring()

    def _asked(self) -> float | None:
        """Return from when on a round is wanted for what is open; None if nothing is."""
        open_ = [i for i in self.store.intents(self.conn) if i.kind != "log"]
        if not open_:
            return None
        if all(intent.sent for intent in open_):
            return self._void(self.row().round_ended_at) + _PACE
        return 0.0

    def _serve_round(self) -> None:
        transport = self._connect()
        self._gather()
        round_ = Round(self)
        try:
            round_.run(transport)
        except TransportError:
            self._hang_up()
            raise

    def _tidy(self) -> None:
        """Go on for jobs that want their directories gone; nobody waits for that."""
        for _ in range(self.settings.cleanup_retries):
            if not self.store.unowned_intents(self.conn):
                return
            self._bell.ring()
            self._serve_round()

    def _gather(self) -> None:
        """Wait, briefly, while other processes keep writing intents."""
        store, conn = self.store, self.conn
        newest = store.newest_intent(conn)
        crowd = self._contended or any(
            intent.pid != os.getpid() and intent.kind != "log"
            for intent in store.intents(conn)
        )
        end = time.monotonic() + _GATHER
        while crowd and newest and time.monotonic() < end:
            time.sleep(_LULL)
            self._lead.beat()
            last, newest = newest, store.newest_intent(conn)
            crowd = newest != last

    # -- the connection ------------------------------------------------------------

    def _connect(self) -> transports.Transport:
        if self._transport is None:
            self._transport = transports.connect(
                self.identity, self.settings, self.door()
            )
        return self._transport

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def door(self, *, interactive: bool = False) -> transports.Door:
        """Return what the transports may use of the floors above them."""
        return transports.Door(
            rundir=self._rundir,
            admit=self._forgive if interactive else self._admit,
            note=self._note,
            tick=self._lead.beat,
        )

    def _note(self, name: str, count: int = 1) -> None:
        self.store.count(self.conn, **{name: count})

    def _admit(self) -> None:
        """Raise why no handshake may be made now, if none may."""
        row = self.row()
        known = self._refused(row)
        if known is not None:
            raise known
        if self.clock() < cooldown_end(row, self.clock()):
            raise cause_of(row)

    def _refused(self, row: HostRow) -> SshJobsError | None:
        """Return the error of these very credentials, if they were refused."""
        import json

        text = json.loads(row.refused).get(transports.credentials(self.identity))
        return errors.load(text) if text else None

    def _forgive(self) -> None:
        """Forget refusals and cooldown: a person has come to see to it."""
        self.store.set_host(
            self.conn, refused="{}", cooldown_until=0.0, failures=0, bad_rounds=0
        )

    def _next_generation(self, current: int) -> bool:
        with self.store.write():
            if self.row().generation != current:
                return False
            self.store.set_host(self.conn, generation=current + 1)
        return True

    @property
    def lead(self) -> Lead:
        """The lock of this connection's rounds."""
        return self._lead


def _or_never(instant: float | None) -> float:
    return float("inf") if instant is None else instant


def cooldown_end(row: HostRow, now: float) -> float:
    """Return until when no handshake may be made, 0 if one may be.

    A cooldown that lies in the future of its own making is void: the clock was
    set back since.
    """
    if row.cooldown_set_at > now + 1.0 or row.cooldown_until > now + _HORIZON:
        return 0.0
    return row.cooldown_until


def cause_of(row: HostRow) -> SshJobsError:
    """Return the error that the last failure of a host was."""
    if row.cause:
        return errors.load(row.cause)
    return errors.HostUnreachable(row.host, "in cooldown")


class _Patience:
    """How long one pursuit goes on after failures, whoever led into them.

    The counts are those of the store, so that what one process has tried, all
    have; each pursuit gives up after its own share of them.
    """

    def __init__(self, party: Party) -> None:
        self._party = party
        settings = party.settings
        row = party.row()
        self._failures = row.failures
        self._bad_rounds = row.bad_rounds
        self._round_at = row.round_started_at
        self._deadline = party.clock() + settings.wait_host
        self._refusals = 0
        self._not_before = 0.0
        self._refusal: SshJobsError | None = None

    def next_try(self, now: float) -> float:
        """Return from when on a round may be tried; raise if patience is out."""
        row = self._party.row()
        if row.round_started_at != self._round_at:
            self._round_at = row.round_started_at
            self.succeeded()
        self._failures = min(self._failures, row.failures)
        self._bad_rounds = min(self._bad_rounds, row.bad_rounds)
        end = max(cooldown_end(row, now), self._not_before)
        settings = self._party.settings
        cause = self._refusal or cause_of(row)
        spent = row.failures - self._failures >= settings.conn_retry_attempts
        if spent and not isinstance(cause, errors.Throttled):
            raise cause
        if row.bad_rounds - self._bad_rounds >= settings.max_reconnect_attempts:
            raise cause
        if end > now and end > self._deadline:
            raise self._out_of_time(cause, end - now)
        return end

    def _out_of_time(self, cause: SshJobsError, remaining: float) -> SshJobsError:
        if not isinstance(cause, TransportError):
            return cause
        waited = self._party.settings.wait_host
        hint = (
            f"{cause.hint}; " if cause.hint else ""
        ) + f"waited --wait-host {waited:g} s, the next try is in {remaining:.0f} s"
        return type(cause)(cause.host, cause.detail, hint)

    def succeeded(self) -> None:
        """A whole round came back."""
        self._deadline = self._party.clock() + self._party.settings.wait_host
        self._refusals = 0
        self._not_before = 0.0
        self._refusal = None

    def failed(self, error: TransportError) -> None:
        """Take note of a failure of a round that this process led."""
        if isinstance(error, errors.SessionRefused):
            self._wait_for_session(error)
        elif isinstance(error, errors.AuthenticationError):
            self._remember_refusal(error)
            raise error
        elif isinstance(error, errors.OutcomeUnknown):
            self._cool(error, "bad_rounds", 0.25, 5.0)
        elif isinstance(error, errors.Throttled):
            self._cool(error, "failures", 5.0, 20.0, 1.0)
        elif isinstance(error, errors.HostUnreachable) and not is_permanent(error):
            self._cool(error, "failures", 1.0, 15.0)
        else:
            raise error

    def _wait_for_session(self, error: TransportError) -> None:
        """All sessions of the connection are taken: nothing ran, wait a little.

        Should one of them be our own watch, it gives way, for a while.
        """
        import random

        now = self._party.clock()
        until = now + _UNWATCHED
        self._party.store.set_host(self._party.conn, unwatched_until=until)
        self._refusals += 1
        self._refusal = error
        self._not_before = now + random.uniform(0.05, min(0.1 * 2**self._refusals, 2.0))
        if now > self._deadline:
            raise error

    def _remember_refusal(self, error: TransportError) -> None:
        import json

        party = self._party
        with party.store.write():
            refused = json.loads(party.row().refused)
            if not refused.get(transports.credentials(party.identity)):
                refused[transports.credentials(party.identity)] = errors.dump(error)
                party.store.set_host(party.conn, refused=json.dumps(refused))

    def _cool(
        self,
        error: TransportError,
        column: str,
        base: float,
        most: float,
        least: float = 0.0,
    ) -> None:
        """Set the cooldown that all processes keep, unless it is just that one."""
        import backoff

        party = self._party
        now = party.clock()
        row = party.row()
        if cooldown_end(row, now) > now and column == "failures":
            return  # admit() refused by it; nothing new was tried
        tries = int(getattr(row, column))
        delay = backoff.full_jitter(min(base * 2.0 ** min(tries, 20), most))
        party.store.set_host(
            party.conn,
            cause=errors.dump(error),
            cooldown_set_at=now,
            cooldown_until=now + max(delay, least),
            **{column: tries + 1},
        )


def is_permanent(error: TransportError) -> bool:
    """Tell whether another try right now cannot help (a name that does not exist)."""
    return getattr(error, "permanent", False) or "not known" in error.detail


class _Plan(NamedTuple):
    """The intents that a request serves, by kind."""

    starts: list[Intent]
    kills: list[Intent]
    reaps: list[Intent]


class Round:
    """One request and its reply."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._store = party.store
        self._settings = party.settings
        self._facts: list[protocol.Event] = []
        self._files = ExitStack()
        self._file = -1
        self._file_id = ""
        self._bytes_in = 0
        self._skew = 0.0
        self._failed: protocol.Failed | None = None

    def run(self, transport: transports.Transport) -> None:
        """Serve every open intent of the host in one session.

        After return, each served intent is closed and each job is as the host
        said. After an error, what the host had said before is known, and the other
        intents stay open.

        Raises:
            SessionRefused: nothing ran.
            OutcomeUnknown: the host may have acted; running it again is safe.
            HostError: our program could not do its work there.

        Source: sshd_config(5) MaxSessions; docs/reference/wire-format.md.
        """
        store = self._store
        started_at = self._party.clock()
        self._party.listed.clear()
        with store.write():
            self._expire(started_at)
            plan, request = self._collect()
        nonce = os.urandom(8).hex()
        program = protocol.build(request, nonce)
        reply = protocol.Reply(nonce)
        try:
            self._talk(transport, program, reply)
        finally:
            self._files.close()
            for job_id in self._apply(plan, reply, started_at, len(program)):
                store.drop_spec(job_id)
        store.sweep()  # a leader may have been killed right before that
        self._judge(reply)

    def _judge(self, reply: protocol.Reply) -> None:
        """Raise what a session that ended by itself leaves to be said."""
        host = self._party.identity.host
        if self._failed is not None:
            raise errors.HostError(host, self._failed.text, self._failed.hint)
        if not reply.begun:
            raise TransportError(
                host,
                "the login shell did not run our program; it said "
                f"{reply.preamble[:200].decode('utf-8', 'backslashreplace')!r}",
                "the account must be allowed to run commands: ssh HOST sh -c true",
            )
        if not reply.ended:
            raise errors.OutcomeUnknown(host, "the reply broke off")

    def _expire(self, now: float) -> None:
        """See to what processes wanted that died too long ago."""
        store, conn = self._store, self._party.conn
        for intent in store.expire(conn, self._settings.intent_ttl, now):
            if intent.kind == "start" and intent.sent:
                store.add_intents(conn, "kill", [intent.job_id], owner=0)
            elif intent.kind == "start":
                store.update(
                    intent.job_id,
                    state=states.CANCELLED,
                    finished_at=now,
                    log_final=True,
                    reason="never sent: its process ended, and intent_ttl passed",
                )
                store.drop_spec(intent.job_id)

    # -- what to ask ---------------------------------------------------------------

    def _collect(self) -> tuple[_Plan, protocol.Request]:
        store, party = self._store, self._party
        intents = store.intents(party.conn)
        jobs = store.jobs({intent.job_id for intent in intents})
        kills = [i for i in intents if i.kind == "kill"]
        starts, orders = self._starts(intents, jobs)
        reaps = [i for i in intents if i.kind == "reap" and is_home(jobs.get(i.job_id))]
        reaps = reaps[:MAX_REAPS]
        row = party.row()
        request = protocol.Request(
            base_dir=self._settings.remote_base_dir,
            journal=(row.journal_gen, row.journal_at) if row.journal_gen else None,
            kills=tuple({i.job_id: (i.job_id, True) for i in kills}.values()),
            starts=tuple(orders),
            checks=self._checks(intents),
            reaps=tuple({i.job_id: None for i in reaps}),
            logs=self._logs(intents, jobs),
            listing=party.listing,
            start_grace=self._settings.start_grace,
            key_ttl=self._settings.key_ttl,
            gone_ttl=GONE_TTL,
        )
        store.mark_sent(i.id for i in [*kills, *starts, *reaps] if not i.sent)
        self._sync(reaps)
        return _Plan(starts, kills, reaps), request

    def _starts(
        self, intents: list[Intent], jobs: dict[str, Job]
    ) -> tuple[list[Intent], list[protocol.Start]]:
        """Choose what to start, within the bounds of a request."""
        chosen: list[Intent] = []
        orders: list[protocol.Start] = []
        seen: set[str] = set()
        size = 0
        for intent in intents:
            if intent.kind != "start" or intent.job_id in seen:
                continue
            job, spec = jobs.get(intent.job_id), self._store.spec(intent.job_id)
            if job is None or spec is None or states.is_final(job.state):
                self._store.serve([intent.id])
                continue
            order = protocol.Start(job.id, spec, job.key, job.once, job.name)
            size += spec.size()
            if chosen and (len(chosen) >= MAX_STARTS or size > MAX_PROGRAM_BYTES):
                break
            seen.add(job.id)
            chosen.append(intent)
            orders.append(order)
        return chosen, orders

    def _checks(self, intents: list[Intent]) -> tuple[protocol.Check, ...]:
        unstarted = {i.job_id for i in intents if i.kind == "start"}
        return tuple(
            protocol.Check(job.id, job.pid, job.start)
            for job in self._store.active(self._party.conn)
            if job.id not in unstarted
        )

    def _logs(
        self, intents: list[Intent], jobs: dict[str, Job]
    ) -> tuple[protocol.LogWant, ...]:
        """Share the bytes of one reply among all who want log."""
        wanted = {}
        for intent in intents:
            job = jobs.get(intent.job_id)
            if intent.kind in ("log", "reap") and job and wants_log(job):
                wanted[job.id] = job
        chosen = list(wanted.values())
        turn = self._party.row().rounds * MAX_LOGS % max(1, len(chosen))
        chosen = (chosen[turn:] + chosen[:turn])[:MAX_LOGS]
        piece = self._settings.log_chunk_size
        share = max(piece, MAX_LOG_BYTES // max(1, len(chosen)))
        return tuple(
            protocol.LogWant(job.id, job.log_home, _limit(job, share)) for job in chosen
        )

    def _sync(self, reaps: Iterable[Intent]) -> None:
        """See to it that a log is on the disk here before it goes there."""
        for intent in reaps:
            try:
                fd = os.open(self._store.log_path(intent.job_id), os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    # -- the session -----------------------------------------------------------------

    def _talk(
        self, transport: transports.Transport, program: bytes, reply: protocol.Reply
    ) -> None:
        def sink(data: bytes) -> None:
            self._party.lead.beat()
            if data:
                self._bytes_in += len(data)
                for event in reply.feed(data):
                    self._take(event)

        transport.run(
            "exec sh", stdin=program, timeout=self._settings.command_timeout, sink=sink
        )

    def _take(self, event: protocol.Event) -> None:
        """Write log bytes down at once, keep everything else for the transaction."""
        if isinstance(event, protocol.LogData):
            self._write(event)
        elif isinstance(event, protocol.Failed):
            self._failed = event
        elif isinstance(event, (protocol.Listed, protocol.ListedOdd)):
            self._party.listed.append(event)
        elif isinstance(event, protocol.Hello):
            skew = self._party.clock() - event.now
            self._skew = skew if abs(skew) > 5.0 else 0.0
            self._facts.append(event)
        else:
            self._facts.append(event)

    def _write(self, event: protocol.LogData) -> None:
        """Put log bytes where they belong; the same bytes twice do no harm."""
        if self._file_id != event.job_id:
            self._files.close()
            path = self._store.log_path(event.job_id)
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            except OSError as error:
                raise errors.StoreError(f"{path}: {error.strerror}") from error
            self._files.callback(self._close_file, self._file)
            self._file_id = event.job_id
        data, offset = memoryview(event.data), event.offset
        while data:
            try:
                done = os.pwrite(self._file, data, offset)
            except OSError as error:
                path = self._store.log_path(event.job_id)
                raise errors.StoreError(f"{path}: {error.strerror}") from error
            data, offset = data[done:], offset + done

    def _close_file(self, fd: int) -> None:
        os.close(fd)
        self._file_id = ""

    # -- what was said -----------------------------------------------------------------

    def _apply(
        self, plan: _Plan, reply: protocol.Reply, started_at: float, sent: int
    ) -> list[str]:
        """Bring the store up to the reply, unless another leads by now.

        Returns:
            The ids of jobs whose specs are not needed any more.
        """
        store, party = self._store, self._party
        whole = reply.ended and self._failed is None
        with store.write():
            if party.row().generation != party.lead.generation:
                return []
            store.count(
                party.conn,
                rounds=int(whole),
                bytes_in=self._bytes_in,
                bytes_out=sent,
            )
            intents = [*plan.starts, *plan.kills, *plan.reaps]
            host = party.identity.host
            ledger = Ledger(store, party.conn, host, intents, self._skew, party.clock())
            useless = ledger.apply(self._facts)
            if self._failed is not None:
                self._fail(plan, self._failed)
            if whole:
                party.listing_done = party.listing
                store.set_host(
                    party.conn,
                    round_started_at=started_at,
                    round_ended_at=party.clock(),
                    failures=0,
                    bad_rounds=0,
                    cooldown_until=0.0,
                    cause="",
                )
        return useless

    def _fail(self, plan: _Plan, failed: protocol.Failed) -> None:
        """Tell everyone whose intents stood in the request what failed there.

        Nothing of it was done this time. What an earlier request held may have been
        done then: that stays open, and so does what no process waits for.
        """
        store = self._store
        error = errors.HostError(self._party.identity.host, failed.text, failed.hint)
        told = [i for i in [*plan.kills, *plan.reaps] if i.pid]
        never = [i for i in plan.starts if not i.sent]
        store.serve((i.id for i in [*told, *never]), errors.dump(error))
        for intent in never:
            store.forget_job(intent.job_id)


def _limit(job: Job, share: int) -> int:
    """Return how many bytes to ask for; an ended job's log has a last byte."""
    if states.is_final(job.state) and job.state != states.LOST:
        return max(0, min(share, job.log_bytes - job.log_home))
    return share
