"""A hook for tasks of Python's own: the host of an Airflow connection, as an object."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..api import Host
from .connection import find_target
from .versions import BaseHook


class SSHJobHook(BaseHook):
    """Leads from a connection of type ssh to a :class:`sshjobs.Host`.

    Args:
        ssh_conn_id: An Airflow connection of type ssh; None: ``remote_host`` alone.
        remote_host: Takes the place of the connection's host.
        settings: Settings of sshjobs, which beat those of the connection.
    """

    conn_name_attr = "ssh_conn_id"
    default_conn_name = "ssh_default"
    hook_name = "SSH jobs"

    def __init__(
        self,
        ssh_conn_id: str | None = default_conn_name,
        remote_host: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.ssh_conn_id = ssh_conn_id
        self.remote_host = remote_host
        self._settings = settings

    @cached_property
    def host(self) -> Host:
        """The host, looked up at the first use: it runs, submits, and finds jobs."""
        where = find_target(self.ssh_conn_id, self.remote_host)
        given = {
            name.removeprefix("SSHJOBS_").lower(): value
            for name, value in where.list_environment().items()
            if value
        }
        return Host(where.host, **given | self._settings)

    def get_conn(self) -> Host:
        """Return the host, by the name that hooks have for it."""
        return self.host
