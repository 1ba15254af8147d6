"""What a deferred task does in a worker: before it is deferred, and at its end."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ..quoting import join_words
from .connection import Target, find_target, read_hook
from .outcome import (
    describe_end,
    describe_unknown_job,
    is_skip,
    read_last_lines,
    read_record_of_event,
)
from .process import CommandEnd, StreamedProcess, build_adopting_line
from .triggers import SSHJobTrigger
from .versions import (
    RESUMES_RETRIES,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

#: How sshjobs ends when the call itself is wrong; a job may end so too.
WRONG = 64


def is_timeout(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Tell whether Airflow resumes a task because its deferral took too long."""
    error = (next_kwargs or {}).get("error", "")
    return next_method == "__fail__" and "timeout" in str(error).lower()


def find_seconds_left(task: Any, ti: Any) -> timedelta | None:
    """Return what is left of a task's ``execution_timeout``, None if it has none.

    Airflow 3 does not count it while a task is deferred (3.3, task_runner.py).
    """
    if task.execution_timeout is None:
        return None
    whole: timedelta = task.execution_timeout
    now = datetime.now(timezone.utc)
    return max(whole - (now - (ti.start_date or now)), timedelta(seconds=1))


class DeferredJob:
    """A task that waits for a job in a trigger; a part of an operator.

    The operator has ``ssh_conn_id``, ``remote_host``, ``skip_on_exit_code``, ``log``.
    """

    log: Any
    defer: Any
    execute: Any
    ssh_conn_id: str | None
    ssh_hook: Any = None
    remote_host: str | None
    skip_on_exit_code: Container[int]
    cmd_timeout: float | None = None

    def find_host(self) -> Target:
        """Return where the job goes, or is."""
        if self.ssh_hook is not None:
            return read_hook(self.ssh_hook, self.remote_host)
        return find_target(self.ssh_conn_id, self.remote_host)

    def build_trigger(
        self, job: str, where: Target, env: Mapping[str, str], *, cancel_on_kill: bool
    ) -> SSHJobTrigger:
        """Return the trigger that waits for a job.

        Of the environment of ``sshjobs`` it is given what the task itself says: it
        looks the connection up where it runs, maybe on another machine.
        """
        conn_id, host, known = self.ssh_conn_id, self.remote_host, dict(os.environ)
        if self.ssh_hook is not None:  # an object of this process
            conn_id, host = None, where.host
        else:
            known |= where.list_environment()
        settings = {
            name: value
            for name, value in env.items()
            if name.startswith("SSHJOBS_") and known.get(name) != value
            # A secret of a hook is in this process, and in no other.
            and not name.endswith(("_PASSWORD_COMMAND", "_PASSPHRASE_COMMAND"))
        }
        return SSHJobTrigger(
            job=job,
            ssh_conn_id=conn_id,
            remote_host=host,
            settings=settings,
            cmd_timeout=self.cmd_timeout,
            cancel_on_kill=cancel_on_kill,
        )

    def defer_until_end(
        self, trigger: SSHJobTrigger, left: timedelta | None, context: Any
    ) -> None:
        """Give the slot back until a trigger tells of the job's end; does not return.

        Args:
            left: How long that may take; None is for ever.
        """
        if RESUMES_RETRIES:
            trigger.deferred_try = context["ti"].try_number
        self.defer(trigger=trigger, method_name="execute_complete", timeout=left)

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any
    ) -> Any:
        """Resume a deferred task; a try that is not the deferred one begins anew."""
        tried = ((next_kwargs or {}).get("event") or {}).get("deferred_try")
        if tried not in (None, context["ti"].try_number):
            return self.execute(context)
        resume = super().resume_execution  # type: ignore[misc]
        return resume(next_method, next_kwargs, context)

    def finish_deferred(
        self,
        event: Mapping[str, Any],
        where: Target,
        env: Mapping[str, str],
        process: StreamedProcess,
    ) -> str:
        """Log the rest of a job's log, and end as the job ended; return its id.

        Raises:
            AirflowSkipException: it ended with a code of ``skip_on_exit_code``.
            AirflowException: it ended badly otherwise, or is not known.
        """
        record, kind = read_record_of_event(event), event["kind"]
        if kind == "error":
            wrong = event["status"] == WRONG
            raise (AirflowFailException if wrong else AirflowException)(
                f"{event['message']}\nThe job was left as it is; a retry finds it"
            )
        if not record:
            ended = CommandEnd(WRONG, [], [], "")
            raise AirflowFailException(describe_unknown_job("of this task", ended))
        said = self._log_rest(event, where, env, process)
        if kind == "silent":
            raise AirflowException(
                f"job {record['id']} wrote nothing for {self.cmd_timeout:g} s "
                "(cmd_timeout), and was ended"
            )
        if record["state"] != "COMPLETED" or 0 in self.skip_on_exit_code:
            if is_skip(record, self.skip_on_exit_code):
                raise AirflowSkipException(
                    f"job {record['id']} ended with {record['exit_status']}: skipping"
                )
            lines = read_last_lines(record["id"], env) or said.stdout
            ended = said._replace(stdout=lines)
            raise AirflowException(describe_end(record, ended))
        return str(record["id"])

    def _log_rest(
        self,
        event: Mapping[str, Any],
        where: Target,
        env: Mapping[str, str],
        process: StreamedProcess,
    ) -> CommandEnd:
        """Log the bytes that the trigger left, which is none of a short log."""
        job, offset = event["job_id"], event["log_offset"]
        if event["log_final"] and offset >= event["log_bytes"]:
            return CommandEnd(0, [], [], job)
        line = build_adopting_line(
            where.host, "logs", "--offset", str(offset), "--", job
        )
        ended = process.run_line(line, env)
        if ended.status:
            self.log.warning(
                "The rest of the log is missing. To see it:\n%s",
                join_words(["sshjobs", "logs", job]),
            )
        return ended
