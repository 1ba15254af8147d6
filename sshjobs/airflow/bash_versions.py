"""The classes of Airflow that ours are made from, wherever its version has them."""

from __future__ import annotations

try:
    from airflow.providers.standard.hooks.subprocess import SubprocessHook
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.sensors.bash import BashSensor
except ImportError:  # Airflow 2 without the standard provider
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.operators.bash import BashOperator
    from airflow.sensors.bash import BashSensor

__all__ = ["BashOperator", "BashSensor", "SubprocessHook"]
