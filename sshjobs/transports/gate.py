"""The gate: one process of a user on a machine may make a handshake with a host.

Theory of operation: an exclusive flock(2) on ``gate.<key>.<n>``, where ``n`` is the
highest generation that has a file. The kernel drops the lock of a process that
dies. It keeps that of a process that is stopped, so the holder shows a beat, the
file's modification time, and its file says which ssh it is starting. Once the beat
is older than :data:`~.locks.STALE`, a waiting process makes the file of the next
generation, looks at the old beat once more, and is the holder; the old one's ssh is
killed by its pid and start time. A holder that wakes up finds that the highest
generation is not its own.

Why looking once more suffices: a taker stamps its file and then lists the folder, a
usurper makes its file and then looks at the stamp. One of them sees the other.
"""

from __future__ import annotations

import json
import os
import time

from ..locks import FileLock, translate_os_errors, unlink_if_there
from ..processes import end_process
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from .base import CallerHooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: Handshakes side by side through one jump host: below the 10 unauthenticated
#: connections at which sshd begins to drop (MaxStartups 10:30:100).
JUMP_SLOTS = 4

#: The bytes of a stamp: three numbers and a boot id, padded, so that none is cut short.
_STAMP_BYTES = 120


class GateLost(Exception):
    """This process was stopped for so long that another one has taken the gate."""


class Gate:
    """The gate of one connection, held or wanted.

    Args:
        folder: Where the lock files are; exists, and is ours.
        key: The identity of the connection.

    Attributes:
        generation: The one that it holds.
    """

    def __init__(self, folder: str, key: str) -> None:
        self._folder = folder
        self._prefix = f"gate.{key}."
        self._lock = self._lock_of(0)
        self.generation = 0

    def __repr__(self) -> str:
        return f"<Gate {self._prefix}{self.generation}>"

    def _lock_of(self, generation: int) -> FileLock:
        return FileLock(os.path.join(self._folder, f"{self._prefix}{generation}"))

    def _list_generations(self) -> list[int]:
        """Return the generations that have a file, highest first."""
        with translate_os_errors(self._folder):
            names = os.listdir(self._folder)
        ends = [n[len(self._prefix) :] for n in names if n.startswith(self._prefix)]
        return sorted((int(end) for end in ends if end.isdigit()), reverse=True)

    def try_to_hold(self) -> bool:
        """Try to hold the gate, without waiting; tell whether it succeeded."""
        newest = max(self._list_generations(), default=0)
        # Only the first generation and a usurper's are made: a file that is gone by
        # now was removed by its holder, and a newer one may be there.
        has_newest = self._try_generation(newest, create=not newest)
        if has_newest or self._take_next_generation(newest):
            self._end_stale_generations()
            return True
        return False

    def _try_generation(self, generation: int, *, create: bool) -> bool:
        lock = self._lock_of(generation)
        # The kernel gives up the lock of a process that dies, and keeps that of a
        # stopped one.
        if not lock.try_to_hold(create=create):
            return False
        self._lock, self.generation = lock, generation
        # The stamp comes before the look at the folder, see the theory above.
        self.stamp_ssh(0, "")
        if self.is_ours():
            return True
        self.release()
        return False

    def _take_next_generation(self, stale: int) -> bool:
        """Take the next generation from a holder that does not beat."""
        if not self._has_stale_beat(stale):
            return False
        if not self._try_generation(stale + 1, create=True):
            return False
        # The old holder may have beaten between our look and our lock. It may have seen
        # no newer generation then, and goes on: it is the one that counts.
        if self._has_stale_beat(stale):
            return True
        self._lock.remove_file()  # the old holder woke up, or another took over
        return False

    def _has_stale_beat(self, generation: int) -> bool:
        return self._lock_of(generation).has_stale_beat()

    def _end_stale_generations(self) -> None:
        """End the ssh that older holders have started, and drop their files.

        Only a stale one is left there by :meth:`_take_next_generation`; the file of a
        live holder stays, and so does its ssh.
        """
        for generation in self._list_generations():
            if generation < self.generation and self._has_stale_beat(generation):
                path = self._lock_of(generation).path
                end_process(*_read_stamp(path))
                unlink_if_there(path)

    def is_ours(self) -> bool:
        """Tell whether this process still holds the gate."""
        newest = self._list_generations()[:1]
        return self._lock.names_its_file() and newest == [self.generation]

    def stamp_ssh(self, pid: int, start: str) -> None:
        """Write down which ssh is being started, for a usurper that has to end it."""
        text = json.dumps([os.getpid(), pid, start]).encode("ascii")
        self._lock.write_stamp(text.ljust(_STAMP_BYTES))

    def show_beat(self) -> None:
        """Show that this process is not stopped.

        Raises:
            GateLost: it was, and another has taken over.
        """
        # In this order: a usurper that has looked before the beat has made its file by
        # then, and we see it.
        self._lock.show_beat()
        if not self.is_ours():
            raise GateLost

    def remove_files(self) -> None:
        """Leave no file behind; a process with one open finds that it does not count.

        Whoever has seen a generation that is gone by now looks again: see
        :meth:`_try_generation`.
        """
        if self.is_ours():
            # Lowest first: as long as ours is there, nobody starts at 0 again.
            for generation in reversed(self._list_generations()):
                unlink_if_there(self._lock_of(generation).path)

    def release(self) -> None:
        """Let the next one in."""
        self._lock.release()


def _read_stamp(path: str) -> tuple[int, str]:
    """Return the pid and the start time of the ssh that a holder has started."""
    try:
        with open(path, encoding="ascii") as file:
            _, pid, start = json.loads(file.read())
    except (FileNotFoundError, ValueError):  # taken, and killed before it was stamped
        return 0, ""
    return int(pid), str(start)


@contextmanager
def try_to_hold_gate(
    hooks: CallerHooks, key: str
) -> Iterator[tuple[Gate, CallerHooks] | None]:
    """Yield the gate, and hooks that show its beat; None if another holds it."""
    gate = Gate(hooks.rundir, key)

    def on_wait() -> None:
        gate.show_beat()
        hooks.on_wait()

    try:
        taken = gate.try_to_hold()
        yield (gate, hooks._replace(on_wait=on_wait)) if taken else None
    finally:
        gate.release()


def pause_before_next_try(on_wait: Callable[[], None]) -> None:
    """Wait a little for a lock; unevenly, so that a crowd does not march in step."""
    on_wait()
    time.sleep(0.02 + os.urandom(1)[0] / 4096)


class JumpSlot:
    """One of the few slots for a handshake through a jump host.

    A holder that is stopped does not beat. Whoever waits then goes on without a slot,
    so that no number of stopped holders bars the way.

    Args:
        folder: Where the lock files are; exists, and is ours.
        first_hop: The jump host, see :attr:`.Identity.first_hop`.
    """

    def __init__(self, folder: str, first_hop: str) -> None:
        self._locks = _list_slots(folder, first_hop)
        self._held: FileLock | None = None

    def wait_for_slot(self, on_wait: Callable[[], None]) -> None:
        """Wait until a slot is free, or until a holder counts as stopped."""
        while self._held is None:
            for lock in self._locks:
                if lock.try_to_hold():
                    self._held = lock
                    return
            # A slot is not taken from a stopped holder: one handshake more than the
            # bound does less harm than a queue behind a stopped process.
            if any(lock.has_stale_beat() for lock in self._locks):
                return
            pause_before_next_try(on_wait)

    def show_beat(self) -> None:
        """Show that this process is not stopped."""
        if self._held is not None:
            self._held.show_beat()

    def leave_slot(self) -> None:
        """Let another in, and leave no file behind."""
        if self._held is not None:
            self._held.remove_file()
            self._held = None


def _list_slots(folder: str, first_hop: str) -> list[FileLock]:
    import hashlib

    name = hashlib.sha256(os.fsencode(first_hop)).hexdigest()[:16]
    paths = (os.path.join(folder, f"hop.{name}.{slot}") for slot in range(JUMP_SLOTS))
    return [FileLock(path) for path in paths]


def remove_dead_slots(folder: str, first_hop: str) -> None:
    """Remove the files that the dead have left of the slots at a jump host."""
    for lock in _list_slots(folder, first_hop) if first_hop else ():
        if lock.try_to_hold(create=False):
            lock.remove_file()


@contextmanager
def hold_jump_slot(
    hooks: CallerHooks, first_hop: str, has_passed: Callable[[], bool] = lambda: False
) -> Iterator[CallerHooks]:
    """Hold a slot for a handshake through a jump host, if one is used.

    The hooks that come with it show the slot's beat, and give it up once
    ``has_passed()``: the jump host has let us in, and silence of the host behind it is
    no reason to keep others waiting.
    """
    if not first_hop:
        yield hooks
        return
    slot = JumpSlot(hooks.rundir, first_hop)
    # Under the gate of one connection: hosts behind one jump host have many gates.
    slot.wait_for_slot(hooks.on_wait)

    def on_wait() -> None:
        slot.show_beat()
        if has_passed():
            slot.leave_slot()
        hooks.on_wait()

    try:
        yield hooks._replace(on_wait=on_wait)
    finally:
        slot.leave_slot()
