"""A link beside a task: the host, the job's id, and the command to look at it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .connection import Target

try:
    from airflow.sdk import BaseOperatorLink
    from airflow.sdk.execution_time.xcom import XCom
except ImportError:  # Airflow 2
    from airflow.models import XCom
    from airflow.models.baseoperatorlink import BaseOperatorLink

#: The XCom of SSHRemoteJobOperator, which says where a job is.
JOB_KEY = "ssh_remote_job"


class SSHJobLink(BaseOperatorLink):
    """``ssh://USER@HOST:PORT/#sshjobs logs ID``: a terminal opens the first part."""

    name = "Job on its host"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the link of a task's last job, empty if it has none."""
        found = XCom.get_value(ti_key=ti_key, key=JOB_KEY)
        return str(found.get("link", "")) if isinstance(found, dict) else ""


def build_link(job: str, where: Target) -> str:
    """Return the link to a job."""
    ports = [o.partition("=")[2] for o in where.options if o.startswith("Port=")]
    host = where.host.removeprefix("ssh://")
    port = f":{ports[0]}" if ports and ":" not in host else ""
    return f"ssh://{quote(host, safe='@:[]')}{port}/#sshjobs%20logs%20{job}"
