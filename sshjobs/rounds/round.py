"""One request and its reply."""

from __future__ import annotations

import os
from contextlib import ExitStack

from .. import errors, protocol, transports
from ..errors import TransportError
from ..facts import Ledger
from ..locks import Lead
from .place import Place
from .request import Plan, collect, expire


class Round:
    """One request and its reply."""

    def __init__(self, place: Place, lead: Lead, *, listing: bool = False) -> None:
        self._place = place
        self._lead = lead
        self._listing = listing
        self._store = place.store
        #: What a listing brought, in the order of the reply.
        self.listed: list[protocol.Event] = []
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
        started_at = self._place.clock()
        with store.write():
            expire(self._place, started_at)
            plan, request = collect(self._place, self._listing)
        nonce = os.urandom(8).hex()
        program = protocol.build(request, nonce)
        reply = protocol.Reply(nonce)
        try:
            self._talk(transport, program, reply)
        except (errors.SessionRefused, errors.HostUnreachable):
            self._take_back(plan)
            raise
        finally:
            self._files.close()
            for job_id in self._apply(plan, reply, started_at, len(program)):
                store.drop_spec(job_id)
        store.sweep()  # a leader may have been killed right before that
        self._judge(reply)

    def _take_back(self, plan: Plan) -> None:
        """Let what this request was the first to hold count as never sent.

        No session was opened, so that nobody can have read it.
        """
        with self._store.write():
            if self._place.row().generation == self._lead.generation:
                intents = [*plan.starts, *plan.kills, *plan.reaps]
                self._store.mark_unsent(i.id for i in intents if not i.sent)

    def _judge(self, reply: protocol.Reply) -> None:
        """Raise what a session that ended by itself leaves to be said."""
        host = self._place.identity.host
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

    def _talk(
        self, transport: transports.Transport, program: bytes, reply: protocol.Reply
    ) -> None:
        def sink(data: bytes) -> None:
            self._lead.beat()
            if data:
                self._bytes_in += len(data)
                for event in reply.feed(data):
                    self._take(event)

        transport.run(
            "exec sh",
            stdin=program,
            timeout=self._place.settings.command_timeout,
            sink=sink,
        )

    def _take(self, event: protocol.Event) -> None:
        """Write log bytes down at once, keep everything else for the transaction."""
        if isinstance(event, protocol.LogData):
            self._write(event)
        elif isinstance(event, protocol.Failed):
            self._failed = event
        elif isinstance(event, (protocol.Listed, protocol.ListedOdd)):
            self.listed.append(event)
        elif isinstance(event, protocol.Hello):
            skew = self._place.clock() - event.now
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
        self, plan: Plan, reply: protocol.Reply, started_at: float, sent: int
    ) -> list[str]:
        """Bring the store up to the reply, unless another leads by now.

        Returns:
            The ids of jobs whose specs are not needed any more.
        """
        store, place = self._store, self._place
        whole = reply.ended and self._failed is None
        with store.write():
            if place.row().generation != self._lead.generation:
                return []
            store.count(
                place.conn,
                rounds=int(whole),
                bytes_in=self._bytes_in,
                bytes_out=sent,
            )
            intents = [*plan.starts, *plan.kills, *plan.reaps]
            host = place.identity.host
            ledger = Ledger(store, place.conn, host, intents, self._skew, place.clock())
            useless = ledger.apply(self._facts)
            if self._failed is not None:
                self._fail(plan, self._failed)
            if whole:
                store.set_host(
                    place.conn,
                    round_started_at=started_at,
                    round_ended_at=place.clock(),
                    failures=0,
                    bad_rounds=0,
                    cooldown_until=0.0,
                    cause="",
                )
        return useless

    def _fail(self, plan: Plan, failed: protocol.Failed) -> None:
        """Tell everyone whose intents stood in the request what failed there.

        Nothing of it was done this time. What an earlier request held may have been
        done then: that stays open, and so does what no process waits for.
        """
        store = self._store
        error = errors.HostError(self._place.identity.host, failed.text, failed.hint)
        told = [i for i in [*plan.kills, *plan.reaps] if i.pid]
        never = [i for i in plan.starts if not i.sent]
        store.serve((i.id for i in [*told, *never]), errors.dump(error))
        for intent in never:
            store.forget_job(intent.job_id)
