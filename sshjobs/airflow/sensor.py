"""A sensor that waits for a job that another task has started."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ..quoting import join_words, quote_if_needed
from .bash_versions import BashSensor
from .connection import Target
from .deferral import DeferredJob
from .operators import SKIP_EXIT_CODE
from .outcome import (
    describe_end,
    describe_unknown_job,
    is_skip,
    read_record,
)
from .parameters import collect_codes, read_default
from .process import StreamedProcess, find_program
from .versions import AirflowException, AirflowFailException, AirflowSkipException

# Not an end of the job: the host cannot be asked now (69), or the answer is out (75).
_ASK_AGAIN = (69, 75)


class SSHJobSensor(DeferredJob, BashSensor):
    """Wait for a job without holding a worker slot, and end as it ends.

    Each poke is one ``sshjobs poll --sensor``. A host that cannot be asked is no
    end: the sensor goes on, until its own ``timeout``. When the job has ended, its
    log is brought home into the task's log, and a bad end fails the sensor without
    a retry, since a final state stays.

    Args:
        job: The XCom of the task that submitted it, an id, or ``key:K``.
        ssh_conn_id: As of the task that submitted it.
        remote_host: Likewise.
        remote_base_dir: Likewise; wanted where another worker may have submitted it.
        skip_on_exit_code: As of :class:`SSHJobOperator`.
        mode: ``reschedule`` frees the slot between two pokes.
        deferrable: Wait in the triggerer, which hears of the end at once, rather than
            poke; by default as ``[operators] default_deferrable`` says.
    """

    template_fields: Sequence[str] = (
        "job",
        "ssh_conn_id",
        "remote_host",
        "remote_base_dir",
    )
    ui_color = "#e4f0e8"

    def __init__(
        self,
        *,
        job: str,
        ssh_conn_id: str | None = None,
        remote_host: str | None = None,
        remote_base_dir: str | None = None,
        skip_on_exit_code: int | Container[int] | None = SKIP_EXIT_CODE,
        mode: str = "reschedule",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(bash_command="", retry_exit_code=75, mode=mode, **kwargs)
        self.job = job
        self.ssh_conn_id = ssh_conn_id
        self.remote_host = remote_host
        self.remote_base_dir = remote_base_dir
        self.skip_on_exit_code = collect_codes(skip_on_exit_code)
        self.deferrable = read_default() if deferrable is None else deferrable

    def execute(self, context: Any) -> Any:
        """Wait for the job, here by pokes or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        self._check_job()
        self._defer_wait(context)

    def _defer_wait(self, context: Any) -> None:
        """Leave the waiting to the triggerer, for what is left of ``timeout``."""
        now = datetime.now(timezone.utc)
        whole = timedelta(seconds=float(self.timeout))
        left = whole - (now - (context["ti"].start_date or now))
        where = self.find_host()
        env = self._build_env(where)
        trigger = self.build_trigger(str(self.job), where, env, cancel_on_kill=False)
        self.defer_until_end(trigger, max(left, timedelta(seconds=1)), context)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> None:
        """End as the job has ended that a trigger tells of.

        A host that cannot be asked is no end: the sensor is deferred again.
        """
        if event["kind"] == "error" and event["status"] in _ASK_AGAIN:
            self.log.warning("%s", event["message"])
            self._defer_wait(context)
        where = self.find_host()
        env = self._build_env(where)
        try:
            self.finish_deferred(event, where, env, StreamedProcess())
        except AirflowSkipException:
            raise
        except AirflowException as error:  # a final state stays: no retry mends it
            raise AirflowFailException(str(error)) from error

    def _check_job(self) -> None:
        if self.job in (None, "", "None"):
            raise AirflowFailException(
                "job is empty: it is the XCom of the task that submitted (its "
                "do_xcom_push must be on), an id, or key:K"
            )
        if str(self.job).startswith("-"):
            raise AirflowFailException(f"not an id of a job, nor key:K: {self.job!r}")

    def _build_env(self, where: Target) -> dict[str, str]:
        env = dict(self.env or os.environ) | where.list_environment()
        if self.remote_base_dir:
            env["SSHJOBS_REMOTE_BASE_DIR"] = self.remote_base_dir
        return env

    def poke(self, context: Any) -> bool:
        """Ask once whether the job has ended well.

        Raises:
            AirflowSkipException: it ended with a code of ``skip_on_exit_code``.
            AirflowFailException: it ended badly otherwise, or is not known here.
        """
        self._check_job()
        where = self.find_host()
        env = self._build_env(where)
        self.bash_command = self._build_line(where.host)
        ended = StreamedProcess().run_line(
            self.bash_command, env, "", self.output_encoding
        )
        if ended.status in _ASK_AGAIN:
            return False
        if not ended.status and 0 not in self.skip_on_exit_code:
            return True
        record = read_record(self.job, env)
        if not record:
            raise AirflowFailException(describe_unknown_job(self.job, ended))
        if is_skip(record, self.skip_on_exit_code):
            raise AirflowSkipException(f"job {record['id']}: skipping")
        raise AirflowFailException(describe_end(record, ended))

    def _build_line(self, host: str) -> str:
        """Return the line of bash: poll; once there is an end, bring the log.

        A job that another worker of this installation submitted is in that one's
        record: it is taken up from the host (64: no such job here), along with all
        that this one does not know there (1: some of them ended badly). A log that is
        not to be had any more (1) is no reason to ask again.
        """
        sshjobs, job = join_words(find_program()), quote_if_needed(str(self.job))
        poll = f"{sshjobs} poll --sensor -- {job} >&2"
        adopt = f"{sshjobs} poll --host {quote_if_needed(host)} --adopt >/dev/null"
        logs = f"{sshjobs} logs -- {job} || [ $? = 1 ] || s=75"
        return (
            f"{poll}; s=$?; "
            f"if [ $s = 64 ]; then {adopt}; s=$?; "
            f"case $s in 0|1) {poll}; s=$?;; esac; fi; "
            f"case $s in 0|1) {logs};; esac; exit $s"
        )
