"""``python -m sshjobs``."""

from .cli.main import run_as_process

run_as_process()
