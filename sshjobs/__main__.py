"""``python -m sshjobs``."""

from .cli.main import script

script()
