"""sshjobs in Airflow: operators and a sensor; they need the extra ``airflow``."""

from .operators import SSHJobOperator, SSHJobSensor, SSHSubmitOperator, submit_task

__all__ = ["SSHJobOperator", "SSHJobSensor", "SSHSubmitOperator", "submit_task"]
