"""How a task ends: by the record of its job, and by how the command ended."""

from __future__ import annotations

import base64
from collections.abc import Container, Mapping
from typing import Any

from ..states import ACTIVE
from .connection import Target
from .links import build_link
from .process import TAIL_LINES, CommandEnd, ask_sshjobs, read_log
from .versions import conf

# How sshjobs ends when it cannot know yet whether a job was started; a job may too.
_NOT_YET = 75


def read_record(job: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return this machine's record of a job; empty if it has none."""
    return next(iter(ask_sshjobs(env, "show", "--", job)), {})


def list_left_over_jobs(ti: Any, key: str, env: Mapping[str, str]) -> list[str]:
    """Return the jobs of a task that run still although the task was cleared.

    Airflow took them for dead (a worker that was lost for good). The new job must not
    run beside them. The first try has none.
    """
    if ti.try_number < 2:
        return []
    mine = f"airflow/{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}/"
    return [
        job["id"]
        for state in ACTIVE
        for job in ask_sshjobs(env, "list", "--state", state)
        if job["key"].startswith(mine) and job["key"] != key
    ]


def read_record_of(
    key: str, ended: CommandEnd, env: Mapping[str, str]
) -> dict[str, Any]:
    """Return the record of the job that a command was about.

    The key alone may mean the job of an earlier try, or of another run, whose end is
    not how this one ended: where a command names no job it found none. A job that
    still runs is worth telling all the same.
    """
    if ended.job:
        return read_record(ended.job, env)
    earlier = read_record(f"key:{key}", env)
    return earlier if earlier.get("state") in ACTIVE else {}


def is_skip(record: Mapping[str, Any], codes: Container[int]) -> bool:
    """Tell whether the job itself, and not sshjobs, ended with a code that skips."""
    ran_out = record.get("state") in ("COMPLETED", "FAILED")
    return ran_out and record.get("exit_status") in codes


def describe_end(record: Mapping[str, Any], ended: CommandEnd) -> str:
    """Say how a job ended, or why that is not known, with its last lines."""
    if record.get("finished_at") is None and record.get("state") != "LOST":
        said = "\n".join(ended.stderr) or "it said nothing"
        known = "no job was started"
        if record:
            known = f"job {record['id']} has no end yet"
        elif ended.status == _NOT_YET:
            known = "whether a job was started is not known yet; the next try finds out"
        return f"sshjobs ended with {ended.status}; {known}:\n{said}"
    how = f"job {record['id']} on {record['host']}: {record['state']}"
    if record["signal"] is not None:
        how += f" by signal {record['signal']}"
    elif record["exit_status"] is not None:
        how += f" with exit status {record['exit_status']}"
    if record["reason"]:
        how += f" ({record['reason']})"
    if not ended.stdout:
        return f"{how}; its log is empty"
    return f"{how}; the last lines of its log:\n" + "\n".join(ended.stdout)


def describe_unknown_job(job: str, ended: CommandEnd) -> str:
    """Explain why a sensor may find no job."""
    said = "\n".join(ended.stderr)
    return (
        f"job {job} is neither in this worker's record nor, below remote_base_dir, on "
        "the host; where another worker submitted it with cleanup, that one has "
        f"brought it home and deleted it (see docs/how-to/airflow.md):\n{said}"
    )


def read_record_of_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trigger tells of a job as ``sshjobs show`` would; empty if none."""
    if not event.get("job_id"):
        return {}
    names = ("host", "state", "exit_status", "signal", "reason")
    record = {name: event.get(name) for name in names}
    return record | {"id": event["job_id"], "finished_at": event.get("finished_at")}


def describe_job(job: str, where: Target, base: str) -> dict[str, str]:
    """Return the XCom ``ssh_remote_job`` of SSHRemoteJobOperator (ssh provider 7.0)."""
    folder = f"{base}/jobs/{job}"
    return {
        "job_id": job,
        "host": where.host,
        "job_dir": folder,
        "log_file": f"{folder}/log",
        "exit_code_file": f"{folder}/exit",
        "pid_file": f"{folder}/run",
        "remote_os": "posix",
        "link": build_link(job, where),
    }


def read_last_lines(job: str, env: Mapping[str, str]) -> list[str]:
    """Return the last lines of a job's log that this machine has."""
    data = read_log(env, "--tail", str(TAIL_LINES), "--", job)
    return data.decode("utf-8", "backslashreplace").splitlines()


def read_xcom(mode: str, job: str, env: Mapping[str, str]) -> Any:
    """Return what a task leaves of its job's log as its XCom.

    ``base64`` is what SSHOperator leaves: the bytes in base64, or as they are where
    ``enable_xcom_pickling`` is set (Airflow 2).
    """
    if mode == "none" or not job:
        return None
    if mode == "last_line":
        lines = read_last_lines(job, env)
        return lines[-1] if lines else None
    data = read_log(env, "--", job)
    if mode == "all":
        return data.decode("utf-8", "backslashreplace")
    if conf.getboolean("core", "enable_xcom_pickling", fallback=False):
        return data
    return base64.b64encode(data).decode()
