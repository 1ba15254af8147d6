"""The trigger of a deferred task: it waits for one job without a worker slot.

Theory of operation: a trigger lives in the event loop of a triggerer, which it must
never block, so all that it does is await what the waiter of its host (:mod:`.waiter`)
tells it. It is cancelled when its triggerer is restarted and when a person has ended
its task, and only the second ends the job. Airflow 3.3 tells the two apart, and calls
``on_kill``; but it also calls that where a triggerer was taken for dead and another has
the trigger now. So the task's own state is asked: a task that is still deferred was
ended by nobody.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from .batch import ThreadBatch
from .connection import find_target
from .notes import drop_notes, keep_notes
from .task_log import PUMP, LogCopy, LogFiles
from .versions import AirflowException, BaseTrigger, TriggerEvent, read_task_state

if TYPE_CHECKING:
    from .waiter import HostWaiter, WaitedEnd

#: How long a trigger waits for the end of a job that it has had ended; Airflow gives
#: on_kill half a minute.
_KILLED = 25.0

#: How long the state of a task is asked for; a triggerer that ends answers no more.
_STATE = 5.0

#: How long a connection that was looked up serves other triggers, too (seconds).
_FRESH = 10.0

_HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")  # since Airflow 3.3

_KEEPING = ThreadBatch(keep_notes)
_DROPPING = ThreadBatch(drop_notes)


class SSHJobTrigger(BaseTrigger):
    """Waits for a job, writes its log into the task's log, tells its end.

    The event is a dict: ``kind`` (see :class:`.waiter.WaitedEnd`), ``job_id``,
    ``host``, ``state``, ``exit_status``, ``signal``, ``reason``, ``log_offset`` (the
    byte up to which the task's log has it), ``log_bytes``, ``status``, ``message``,
    ``deferred_try``.

    Args:
        job: Its id, or ``key:K``.
        ssh_conn_id: As of the operator.
        remote_host: Likewise.
        settings: Variables ``SSHJOBS_<NAME>``.
        cmd_timeout: Seconds of silence after which the job is ended.
        cancel_on_kill: End the job when a person ends the task.
        deferred_try: The number of the try that was deferred, where Airflow needs it.
    """

    def __init__(
        self,
        job: str,
        ssh_conn_id: str | None = None,
        remote_host: str | None = None,
        settings: dict[str, str] | None = None,
        cmd_timeout: float | None = None,
        cancel_on_kill: bool = True,
        deferred_try: int | None = None,
    ) -> None:
        super().__init__()
        self.job = job
        self.ssh_conn_id = ssh_conn_id
        self.remote_host = remote_host
        self.settings = dict(settings or {})
        self.cmd_timeout = cmd_timeout
        self.cancel_on_kill = cancel_on_kill
        self.deferred_try = deferred_try

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make this trigger anew."""
        names = "job ssh_conn_id remote_host settings cmd_timeout cancel_on_kill "
        names += "deferred_try"
        return (
            f"{SSHJobTrigger.__module__}.{SSHJobTrigger.__qualname__}",
            {name: getattr(self, name) for name in names.split()},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the job's end, and yield it as an event."""
        ti = self.task_instance
        copy = LogCopy(LogFiles(ti))
        try:
            await _KEEPING.run((self, ti))
            end = await self._wait_for_end(copy=copy, silence=self.cmd_timeout)
        except asyncio.CancelledError:
            copy.close()
            if not _HAS_ON_KILL:
                await self._kill_if_task_was_ended()
            raise
        await _DROPPING.run(self.job)
        event = _build_event(end, copy.offset)
        yield TriggerEvent(event | {"deferred_try": self.deferred_try})

    async def on_kill(self) -> None:
        """End the job of a task that a person has ended (Airflow 3.3)."""
        await self._kill_if_task_was_ended()

    async def _kill_if_task_was_ended(self) -> None:
        if not self.cancel_on_kill:
            return
        try:
            state = await asyncio.wait_for(
                sync_to_async(read_task_state)(self.task_instance), timeout=_STATE
            )
        except Exception as error:  # no answer, no ground to end anything
            self.log.warning("job %s is left as it is: %r", self.job, error)
            return
        if state != "deferred":
            self.log.info("The task is %s: ending job %s", state, self.job)
            await asyncio.wait_for(self._wait_for_end(kill=True), timeout=_KILLED)
            await _DROPPING.run(self.job)

    async def _wait_for_end(self, **wanted: Any) -> WaitedEnd:
        """Have the waiter of the host wait for the job; see :class:`.WaitedJob`."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[WaitedEnd] = loop.create_future()
        copy: LogCopy | None = wanted.get("copy")

        def set_result(end: WaitedEnd) -> None:
            if not told.done():
                told.set_result(end)

        def tell_loop(end: WaitedEnd) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(set_result, end)

        def finish_log(end: WaitedEnd) -> None:
            if copy is None or end.job is None:
                tell_loop(end)
            else:
                copy.finish(lambda _offset: tell_loop(end))
                PUMP.stir(copy)

        name = self.ssh_conn_id, self.remote_host, *sorted(self.settings.items())
        waiter, found = await _find_once(
            name, lambda: sync_to_async(self._find_waiter)()
        )
        if isinstance(found, waiter.WaitedEnd):
            end: WaitedEnd = found
            return end
        waited = waiter.WaitedJob(self.job, finish_log, **wanted)
        try:
            found.add(waited)
            return await told
        finally:
            waited.is_dropped = True

    def _find_waiter(self) -> tuple[Any, HostWaiter | WaitedEnd]:
        """Return the module of waiters, and that of the host, or why there is none."""
        from . import waiter  # it imports rounds: outside of the event loop

        try:
            where = find_target(self.ssh_conn_id, self.remote_host)
        except AirflowException as error:  # of the connection
            return waiter, waiter.WaitedEnd("error", None, 64, str(error))
        environ = os.environ | where.list_environment() | self.settings
        return waiter, waiter.find_waiter(where.host, environ)


def _build_event(end: WaitedEnd, offset: int) -> dict[str, Any]:
    event = {"kind": end.kind, "status": end.status, "message": end.message}
    if end.job is not None:
        job = end.job
        names = ("host", "state", "exit_status", "signal", "reason", "finished_at")
        event |= {name: getattr(job, name) for name in names}
        event |= {"job_id": job.id, "log_bytes": job.log_local_bytes}
        event |= {"log_offset": offset, "log_final": job.log_final}
    return event


#: What all triggers of an event loop need once, and until when it holds.
_FOUND: dict[Any, tuple[float, asyncio.Future[Any]]] = {}


async def _find_once(name: Any, look: Callable[[], Awaitable[Any]]) -> Any:
    """Return what one look finds, for all triggers that want it at about this time.

    Shielded: a trigger that is cancelled takes it from no other, and keeps the message
    of its cancellation, by which Airflow 3.3 tells a person's from a restart's.
    """
    loop, now = asyncio.get_running_loop(), time.monotonic()
    until, found = _FOUND.get((loop, name), (0.0, None))
    if found is None or now > until:
        found = asyncio.ensure_future(look())
        _FOUND[loop, name] = now + _FRESH, found
    return await asyncio.shield(found)
