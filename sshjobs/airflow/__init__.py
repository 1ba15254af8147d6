"""sshjobs in Airflow: operators and a sensor; they need the extra ``airflow``."""

from .operators import SSHJobOperator, SSHSubmitOperator, submit_task
from .sensor import SSHJobSensor

__all__ = ["SSHJobOperator", "SSHJobSensor", "SSHSubmitOperator", "submit_task"]
