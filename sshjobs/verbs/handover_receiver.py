"""Receives the submits that other processes of this machine hand over.

The other end is :mod:`sshjobs.startup.handover`. A job that was received belongs to its
own process: the intent has the number of that one, any leader serves it, and if this
process ends, that one goes on with it.
"""

from __future__ import annotations

import os

from ..errors import NotYet, SshJobsError
from ..locks import keep_from_children
from ..model import RECORDED, is_job_id
from ..processes import read_start_time
from ..startup.contexts import suppress
from ..startup.handover import (
    ASK,
    LOOK,
    MOST_BYTES,
    SIGNATURE,
    STARTED,
    find_peer,
    sign,
)
from ..startup.records import TYPE_CHECKING, Record
from ..startup.stdlib import socket
from ..store import SERVED, slices
from .submit import JobRequest, KnownJob, WrittenBatch, build_job, check_job_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..rounds import Coordinator


#: So many at most, and no more than half of the descriptors of this process.
_MOST_SENDERS = 500


class Sender(Record):
    """A process that has handed its submit over, or is about to, and waits.

    ``job_request`` is None until it was read; ``is_quiet`` if no id is to be printed.
    """

    pid: int
    line: socket.socket
    job_request: JobRequest | None = None
    is_quiet: bool = False

    def hang_up(self) -> None:
        """Leave the job to its own process."""
        keep_from_children(self.line.fileno(), keep=False)
        self.line.close()

    def answer(self, answer: bytes) -> bool:
        """Answer, and hang up; tell whether the other end can have it."""
        try:
            self.line.send(answer)
        except OSError:
            return False
        finally:
            self.hang_up()
        return True

    def is_waiting(self) -> bool:
        """Tell whether the process has not hung up."""
        try:
            is_there = bool(self.line.recv(1, socket.MSG_PEEK))
        except OSError as error:
            is_there = isinstance(error, BlockingIOError)
        return is_there and read_start_time(self.pid) is not None


def find_handed_job(
    coordinator: Coordinator, job_id: str, is_interrupted: bool
) -> WrittenBatch | None:
    """Return the job that was handed over, if another process has written it down.

    None will from now on: this one has hung up, and was given the write lock since.

    Raises:
        KeyboardInterrupt: a person has wanted that, and nothing was written.
        NotYet: it was sent by another connection than that of this process.
    """
    store = coordinator.store
    kept: list[str] = []
    with store.begin_write():
        start = store.intents.find_own_start(job_id)
        if start is not None and start.site_id != coordinator.site_id:
            # The configuration has changed between the two.
            _, kept = store.intents.withdraw_intents([start.id])
            store.intents.leave_open([start.id])
            start = None
        if start is not None and start.outcome != SERVED:
            return WrittenBatch([start.id], [], [], {})
        if not kept and store.jobs.find_job(job_id) is not None:
            store.intents.drop_intents([start.id] if start else [])
            return WrittenBatch([], [], [], {0: KnownJob(job_id)})
    if kept:
        raise NotYet("sent by the connection of another process", (job_id,))
    if is_interrupted:
        raise KeyboardInterrupt
    return None


class HandoverReceiver:
    """Writes the jobs of other processes down while this one waits for its own.

    Args:
        listener: Where they knock.
        key: The secret with which both ends sign.
        read_words: Returns the request of a command line, and whether its id is not to
            be printed; None if its own process is to see to it.
        coordinator: That of the host of all of them.
        own: The intents of this process itself.
    """

    def __init__(
        self,
        listener: socket.socket,
        key: bytes,
        read_words: Callable[[list[str]], tuple[JobRequest, bool] | None],
        coordinator: Coordinator,
        own: Sequence[int],
    ) -> None:
        self._listener = listener
        self._key = key
        self._read_words = read_words
        self._coordinator = coordinator
        self._own = own
        self._silent: list[Sender] = []
        self._waiting: dict[int, Sender] = {}  # by the number of the intent
        self._room, self._highest = _MOST_SENDERS, os.sysconf("SC_OPEN_MAX") // 2
        listener.setblocking(False)
        keep_from_children(listener.fileno())

    def __repr__(self) -> str:
        return f"<HandoverReceiver of {len(self._waiting)} jobs>"

    def close(self) -> None:
        """Leave the rest to their own processes."""
        self._turn_away()
        for sender in self._waiting.values():
            sender.hang_up()
        self._waiting = {}

    def _turn_away(self) -> None:
        """Listen no longer, and hang up on those that have said nothing yet."""
        self._stop_listening()
        for sender in self._silent:
            sender.hang_up()
        self._silent = []

    def _stop_listening(self) -> None:
        """Have one of those that knock listen in place of this process."""
        if self._listener.fileno() >= 0:
            keep_from_children(self._listener.fileno(), keep=False)
            self._listener.close()

    @property
    def descriptor(self) -> int:
        """The descriptor at which they knock, -1 if there is no room for more."""
        return self._listener.fileno()

    def receive_wishes(self) -> None:
        """Write down the jobs that were handed over by now.

        Once the own ones stand in a request, others would come too late for it, and
        have to look after theirs: one of them is to listen now.
        """
        if not self._coordinator.store.intents.count_unserved(self._own)[1]:
            self._turn_away()
            return
        self._accept_senders()
        senders = self._read_messages()
        if not senders:
            return
        taken: dict[int, Sender] = {}
        try:
            taken = self._write_jobs_down(senders)
        except SshJobsError:  # a full disk, for one: it is not the end of the own job
            self._turn_away()
        finally:
            self._waiting |= taken
            kept = set(map(id, taken.values()))
            for sender in senders:
                if id(sender) not in kept:
                    sender.answer(LOOK)

    def _accept_senders(self) -> None:
        for _ in range(2 * _MOST_SENDERS):
            if self._listener.fileno() < 0:
                return
            try:
                fd, _ = self._listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left
                self._stop_listening()
                return
            line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)
            pid, uid = find_peer(line)
            if pid <= 0 or uid != os.geteuid():
                line.close()
                continue
            line.setblocking(False)
            keep_from_children(fd)
            self._silent.append(Sender(pid, line))
            self._room -= 1
            # Numbers are given from the lowest on: the rest is for this process itself.
            if self._room <= 0 or fd > self._highest:
                self._stop_listening()

    def _read_messages(self) -> list[Sender]:
        """Return those whose jobs can be written down here."""
        silent, self._silent = self._silent, []
        found = []
        for sender in silent:
            try:
                message = sender.line.recv(MOST_BYTES + 100)
            except BlockingIOError:
                self._silent.append(sender)
                continue
            except OSError:
                message = b""
            read = self._read_message(message)
            if read is None:
                sender.answer(LOOK)
            else:
                found.append(sender._replace(job_request=read[0], is_quiet=read[1]))
        return found

    def _read_message(self, message: bytes) -> tuple[JobRequest, bool] | None:
        proof, message = message[:SIGNATURE], message[SIGNATURE:]
        job_id, *words = [os.fsdecode(word) for word in message.split(b"\0")]
        if proof != sign(self._key, ASK + message) or not is_job_id(job_id):
            return None
        try:
            read = self._read_words(words)
            if read is None:
                return None
            return check_job_request(read[0]._replace(id=job_id)), read[1]
        except SshJobsError:  # its own process says so
            return None

    def _write_jobs_down(self, senders: list[Sender]) -> dict[int, Sender]:
        """Write those down whose processes wait; return these by their intents."""
        store, now = self._coordinator.store, self._coordinator.clock()
        taken: dict[int, Sender] = {}
        with store.begin_write(), store.jobs.collect_batch() as batch:
            for place, sender in enumerate(senders):
                assert sender.job_request is not None
                # Under the write lock: one that hangs up from now on finds its row.
                if not sender.is_waiting():
                    continue
                at = now + place * 1e-6
                job = build_job(self._coordinator, sender.job_request, at)
                # A job that is not RECORDED has a file of its spec.
                if job.digest != RECORDED or store.jobs.find_job(job.id) is not None:
                    continue
                batch.add(job)
                (number,) = store.intents.add_intents(
                    job.site_id, "start", [job.id], owner=sender.pid
                )
                taken[number] = sender
            batch.store()
        return taken

    def tell_started(self) -> None:
        """Tell those whose jobs have started; the others look after theirs."""
        intents, told = self._coordinator.store.intents, []
        with suppress(SshJobsError):
            for numbers in slices(list(self._waiting)):
                for number, intent in intents.read_outcomes(numbers).items():
                    if intent.outcome != SERVED:
                        continue
                    sender = self._waiting.pop(number)
                    job_id = intent.job_id.encode()
                    text = b"" if sender.is_quiet else job_id + b"\n"
                    proof = STARTED + sign(self._key, STARTED + job_id)
                    told += [number] * sender.answer(proof + text)
            intents.drop_intents(told)
