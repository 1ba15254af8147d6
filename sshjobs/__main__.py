"""``python -m sshjobs``."""

from .cli import script

script()
