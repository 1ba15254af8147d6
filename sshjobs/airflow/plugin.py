"""What Airflow loads of this package in each of its processes: a listener.

It costs a process nothing, but in a triggerer it starts the :mod:`.janitor`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from pluggy import HookimplMarker

try:
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:  # Airflow 2.9 to 3.1
    from airflow.plugins_manager import AirflowPlugin


@HookimplMarker("airflow")
def on_starting(component: Any) -> None:
    """Start the janitor with ``airflow triggerer``.

    The component has no type yet (3.3, ``Job.__init__``). A triggerer forks before its
    work begins (for its triggers since 3.0; to become a daemon), and a fork leaves
    threads behind: each one starts the janitor anew in the process that goes on.
    """
    if "triggerer" in sys.argv[1:2]:
        os.register_at_fork(after_in_parent=_start_janitor)
        _start_janitor()


def _start_janitor() -> None:
    from .janitor import start_janitor

    start_janitor()


class SSHJobsPlugin(AirflowPlugin):
    """The listener of this module."""

    name = "sshjobs"
    listeners = [sys.modules[__name__]]
