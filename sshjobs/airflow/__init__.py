"""sshjobs in Airflow: operators, a sensor and a trigger.

They need the extra ``airflow``, and come in when they are first named: a triggerer
imports no operator, and a list of providers nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .hook import SSHJobHook
    from .operators import SSHJobOperator, SSHSubmitOperator, submit_task
    from .sensor import SSHJobSensor
    from .ssh_provider import SSHOperator, SSHRemoteJobOperator
    from .triggers import SSHJobTrigger

__all__ = [
    "SSHJobHook",
    "SSHJobOperator",
    "SSHJobSensor",
    "SSHJobTrigger",
    "SSHOperator",
    "SSHRemoteJobOperator",
    "SSHSubmitOperator",
    "submit_task",
]

_MODULES = {
    "SSHJobHook": "hook",
    "SSHJobOperator": "operators",
    "SSHJobSensor": "sensor",
    "SSHJobTrigger": "triggers",
    "SSHOperator": "ssh_provider",
    "SSHRemoteJobOperator": "ssh_provider",
    "SSHSubmitOperator": "operators",
    "submit_task": "operators",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
