"""Airflow operators: a task that runs a job on a host over the shared connection.

:class:`SSHJobOperator` takes the parameters of the ssh provider's
``SSHRemoteJobOperator`` (7.0), name for name, so that most DAGs change one
import. It is a BashOperator whose command is ``sshjobs run``: the log streams
into the task's log, the job's status decides the task, killing the task kills
the job. :func:`submit_task` and :class:`SSHJobSensor` do the same in two tasks
that hold no worker slot in between.

A job is named by :data:`KEY`: the same for every try of a task, so that a retry
after a lost worker finds the job that still runs; another after the task was
cleared, since ``max_tries`` grows then and at no other time (Airflow 2.9 to
3.3, ``clear_task_instances``). The run's start date keeps two installations
apart that run the same DAG on the same host.

Wants Airflow 2.9 or newer; no other module of sshjobs imports this one.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..quoting import join_words
from ..settings import BY_NAME
from .bash_versions import BashOperator
from .connection import Target
from .deferral import WRONG, DeferredJob, find_seconds_left, is_timeout
from .links import JOB_KEY, SSHJobLink
from .notes import drop_notes, keep_notes
from .outcome import (
    describe_end,
    describe_job,
    is_skip,
    list_left_over_jobs,
    read_record_of,
    read_xcom,
)
from .parameters import (
    FLAGS,
    SETTINGS,
    check_parameters,
    collect_codes,
    is_not_set,
    raise_to_least,
    read_default,
)
from .process import (
    CommandEnd,
    StreamedProcess,
    build_adopting_line,
    find_program,
    kill_job,
)
from .versions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

#: The key of a task's job; a Jinja template, which fits a BashOperator too. Keep in
#: sync with list_left_over_jobs.
KEY = (
    "airflow/{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}/{{ ti.map_index }}"
    "/{{ ti.max_tries }}/{{ dag_run.start_date | ts }}"
)

#: The status on which BashOperator skips, unless it is told otherwise.
SKIP_EXIT_CODE = 99

# Variables reach the job through the environment of sshjobs, under names that mean
# nothing to bash, Python and ssh: PYTHONPATH would reach into sshjobs itself, and bash
# has a UID of its own.
_CARRIER = "JOB_VARIABLE_"


class SSHJobOperator(DeferredJob, BashOperator):
    """Run a command on a host as a job, and end as the job ends.

    The parameters down to ``max_reconnect_attempts`` are those of
    ``SSHRemoteJobOperator``; one that is not given has the default of sshjobs
    (docs/reference/settings.md), which the worker's environment and config file may
    change. docs/how-to/migrate-from-airflow-ssh.md has the differences.

    Args:
        ssh_conn_id: An Airflow connection of type ssh. Without it ``remote_host`` is
            given to ``ssh`` as it is, and ssh_config says the rest.
        command: A shell line, run by the login shell of the host (or ``shell``).
        remote_host: Takes the place of the connection's host; ``local`` is the worker.
        environment: Variables for the job; no value stands in an argument or a log.
        timeout: Seconds after which the job is ended, on the host.
        cleanup: ``never``, ``on_success`` or ``always``; only after the log is home.
        remote_os: ``auto`` or ``posix``.
        skip_on_exit_code: Exit status, or several, that skip the task; ``None``: none.
        key: The job's key, by default :data:`KEY`.
        once: No new attempt when the job of this key has ended badly.
        shell: Runs the command, as SHELL FILE.
        cwd: Directory on the host.
        login: A login shell runs the command.
        wait_host: Seconds to wait for a host that cannot be reached.
        max_log_bytes: So much of the job's log comes home; the rest stays on the host.
        launcher: What starts the job on the host, with ``launcher_args`` for it.
        group: Jobs of a group share a limit; ``at_most`` run on the host at once.
        priority: Of the jobs that wait on the host, the highest begins first.
        cmd_timeout: Seconds without a byte of its log after which the job is ended.
        ssh_hook: An SSHHook, in place of ``ssh_conn_id``; where it leads is taken.
        get_pty: Taken for the sake of SSHOperator, and without effect.
        deferrable: Wait in the triggerer, without a worker slot; by default as
            ``[operators] default_deferrable`` says.
        cancel_on_kill: End the job when a person ends its deferred task, or that is
            over its time.
        xcom: ``last_line`` of the log, ``all`` of it, ``none``, or ``base64``, which is
            the XCom of ``SSHOperator``.
    """

    template_fields: Sequence[str] = (
        "command",
        "environment",
        "remote_host",
        "remote_base_dir",
        "ssh_conn_id",
        "key",
        "cwd",
    )
    template_ext: Sequence[str] = (".sh", ".bash")
    template_fields_renderers = {"command": "bash", "environment": "python"}
    ui_color = "#e4f0e8"
    operator_extra_links = (SSHJobLink(),)

    def __init__(
        self,
        *,
        ssh_conn_id: str | None = None,
        command: str | None = None,
        remote_host: str | None = None,
        environment: dict[str, str] | None = None,
        remote_base_dir: str | None = None,
        poll_interval: float | None = None,
        log_chunk_size: int | None = None,
        timeout: float | None = None,
        cleanup: str | None = None,
        remote_os: str = "auto",
        skip_on_exit_code: int | Container[int] | None = SKIP_EXIT_CODE,
        conn_timeout: float | None = None,
        banner_timeout: float | None = None,
        conn_retry_attempts: int | None = None,
        cleanup_retries: int | None = None,
        command_timeout: float | None = None,
        max_reconnect_attempts: int | None = None,
        key: str = KEY,
        once: bool = False,
        shell: str | None = None,
        cwd: str | None = None,
        login: bool = False,
        wait_host: float | None = None,
        max_log_bytes: int | None = None,
        launcher: str | None = None,
        launcher_args: str | None = None,
        group: str | None = None,
        at_most: int | None = None,
        priority: int | None = None,
        cmd_timeout: Any = None,
        ssh_hook: Any = None,
        get_pty: bool = False,
        deferrable: bool | None = None,
        cancel_on_kill: bool = True,
        xcom: str = "last_line",
        **kwargs: Any,
    ) -> None:
        super().__init__(bash_command="", **kwargs)
        cmd_timeout = None if is_not_set(cmd_timeout) else cmd_timeout
        given = locals()
        check_parameters(given)
        self.ssh_conn_id = ssh_conn_id
        self.ssh_hook = ssh_hook
        self.get_pty = get_pty
        self.command = command
        self.remote_host = remote_host
        self.environment = environment
        self.remote_base_dir = remote_base_dir
        for name in SETTINGS + FLAGS:  # BashOperator's cwd is the worker's: unused
            setattr(self, name, given[name])
        self.timeout = timeout or None  # 0 is none, as there
        self.remote_os = remote_os
        self.skip_on_exit_code = collect_codes(skip_on_exit_code)
        self.key = key
        self.once = once
        self.login = login
        self.cmd_timeout = cmd_timeout or None
        self.deferrable = read_default() if deferrable is None else deferrable
        self.cancel_on_kill = cancel_on_kill
        self.xcom = xcom

    #: The verb of sshjobs that the task runs.
    verb = "run"

    #: Whether the exit status is left as an XCom, as of SSHOperator.
    pushes_exit_status = False

    @cached_property
    def subprocess_hook(self) -> StreamedProcess:
        """Runs ``sshjobs``; BashOperator's ``on_kill`` sends it SIGTERM."""
        return StreamedProcess()

    def execute(self, context: Any) -> Any:
        """Run the job to its end, or start it and wait for it in the triggerer.

        Returns:
            What ``xcom`` says.

        Raises:
            AirflowSkipException: the job ended with a code of ``skip_on_exit_code``.
            AirflowException: it ended badly otherwise, or could not be run.
        """
        # A DAG that renders to native objects makes a number of what looks like one.
        self.command = command = str(self.command or "")
        self.key = str(self.key)
        if not command.strip():
            raise AirflowFailException("the command is empty")
        where = self._find_target()
        env = self._build_env(where, context)
        defers = self.deferrable and self.verb == "run"
        words = self._list_words(where, context, "submit" if defers else self.verb)
        left = list_left_over_jobs(context["ti"], self.key, env)
        self.bash_command = f"exec {join_words(words)}"
        if left:
            kill = join_words([*find_program(), "kill", *left])
            self.bash_command = f"{kill} >&2 && {self.bash_command}"
        env |= {_CARRIER + name: text for name, text in self._list_variables().items()}
        if defers:
            self._submit_and_defer(where, env, context)
        # The command is read from stdin: an argument would show in ps on the worker,
        # and ends at 128 KiB (execve(2), MAX_ARG_STRLEN).
        ended = self.subprocess_hook.run_line(
            self.bash_command,
            env,
            command,
            self.output_encoding,
            silence=self.cmd_timeout,
        )
        if ended.job:
            self._push_job(context, ended.job, where)
        self._push_exit_status(context, ended.status)
        if ended.status or (self.verb == "run" and 0 in self.skip_on_exit_code):
            self._fail_task(ended, env)
        if self.verb != "run":
            return ended.stdout[-1]
        if self.xcom == "last_line":
            return ended.stdout[-1] if ended.stdout else None
        return read_xcom(self.xcom, ended.job, env) if self.do_xcom_push else None

    def _submit_and_defer(
        self, where: Target, env: dict[str, str], context: Any
    ) -> None:
        """Start the job, and leave the waiting to the triggerer; does not return.

        A task that is ended meanwhile takes the job with it, wherever it is.
        """
        job = ""
        try:
            ended = self.subprocess_hook.run_line(
                self.bash_command, env, str(self.command), self.output_encoding
            )
            if not ended.status and ended.stdout:
                job = ended.stdout[-1]
            if self.subprocess_hook.is_ending:
                raise AirflowException("the task was ended while its job was started")
        except BaseException:
            kill_job(job or f"key:{self.key}", env)
            raise
        if not job:
            self._fail_task(ended, env)
        self._push_job(context, job, where)
        trigger = self.build_trigger(
            job, where, env, cancel_on_kill=self.cancel_on_kill
        )
        keep_notes([(trigger, context["ti"])])
        left = find_seconds_left(self, context["ti"])
        self.defer_until_end(trigger, left, context)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> Any:
        """End as the job has ended that a trigger tells of."""
        drop_notes([event.get("job_id") or ""])
        where = self._find_target()
        env = self._build_env(where, context)
        self._push_exit_status(context, event.get("exit_status"))
        job = self.finish_deferred(event, where, env, self.subprocess_hook)
        return read_xcom(self.xcom, job, env) if self.do_xcom_push else None

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any
    ) -> Any:
        """Resume a deferred task; one that is over its time ends its job first."""
        if is_timeout(next_method, next_kwargs) and self.cancel_on_kill:
            where = self._find_target()
            line = build_adopting_line(where.host, "kill", "--", f"key:{self.key}")
            env = self._build_env(where, context)
            self.subprocess_hook.run_line(line, env)
        return super().resume_execution(next_method, next_kwargs, context)

    def _build_env(self, where: Target, context: Any) -> dict[str, str]:
        """Return the environment of ``sshjobs``."""
        env = dict(self.get_env(context)) | where.list_environment()
        given = {name: getattr(self, name) for name in SETTINGS}
        return env | {
            f"SSHJOBS_{name.upper()}": str(raise_to_least(name, value))
            for name, value in given.items()
            if value is not None
        }

    def _push_job(self, context: Any, job: str, where: Target) -> None:
        """Leave the XCom of SSHRemoteJobOperator, which says where the job is."""
        if self.do_xcom_push:
            base = self.remote_base_dir or BY_NAME["remote_base_dir"].default
            told = describe_job(job, where, base)
            context["ti"].xcom_push(JOB_KEY, told)
            # Airflow 3 makes the link's own XCom only when the task has ended.
            if hasattr(SSHJobLink, "xcom_key"):
                context["ti"].xcom_push(SSHJobLink().xcom_key, told["link"])

    def _push_exit_status(self, context: Any, status: int | None) -> None:
        if self.pushes_exit_status and self.do_xcom_push and status is not None:
            context["ti"].xcom_push("ssh_exit", status)

    def _find_target(self) -> Target:
        where = self.find_host()
        for note in where.notes:
            self.log.warning("%s", note)
        if where.options:
            self.log.info("ssh options: %s", join_words(where.options))
        return where

    def _list_variables(self) -> dict[str, str]:
        given = self.environment or {}
        if not isinstance(given, Mapping):  # its value may be a secret
            raise AirflowFailException(
                f"environment has become a {type(given).__name__}, and is to be a dict "
                "of names and values: a template makes a text, unless the DAG has "
                "render_template_as_native_obj=True"
            )
        return {name: str(value) for name, value in given.items()}

    def _list_words(self, where: Target, context: Any, verb: str) -> list[str]:
        ti = context["ti"]
        mapped = f"[{ti.map_index}]" if ti.map_index >= 0 else ""
        words = [*find_program(), verb, where.host]
        words += ["--name", f"{ti.dag_id}.{ti.task_id}{mapped}", "--key", self.key]
        words += ["--once"] if self.once else []
        words += ["--login"] if self.login else []
        for name in FLAGS:
            value = getattr(self, name)
            words += [] if value is None else [f"--{name.replace('_', '-')}={value}"]
        for name in self._list_variables():
            words += ["--env-from", f"{name}={_CARRIER}{name}"]
        return words

    def _fail_task(self, ended: CommandEnd, env: Mapping[str, str]) -> None:
        if self.subprocess_hook.is_silent:
            raise AirflowException(
                f"job {ended.job} wrote nothing for {self.cmd_timeout:g} s "
                "(cmd_timeout), and was ended"
            )
        record = read_record_of(self.key, ended, env)
        if is_skip(record, self.skip_on_exit_code):
            raise AirflowSkipException(
                f"job {record['id']} ended with {ended.status}: skipping"
            )
        # A call that is wrong (64) is as wrong the next time.
        wrong = ended.status == WRONG and not record
        bad = AirflowFailException if wrong else AirflowException
        raise bad(describe_end(record, ended))


class SSHSubmitOperator(SSHJobOperator):
    """Start a job on a host, and end as soon as the host has it.

    The parameters are those of :class:`SSHJobOperator`. The job's id is the XCom
    that :class:`SSHJobSensor` takes: ``SSHJobSensor(job=submit.output, ...)``.
    A retry finds the job that an earlier try started. Ending this task does not
    end the job.
    """

    verb = "submit"


def submit_task(task_id: str, command: str, **kwargs: Any) -> SSHSubmitOperator:
    """Return a task that starts a job; an :class:`SSHJobSensor` waits for it."""
    return SSHSubmitOperator(task_id=task_id, command=command, **kwargs)
