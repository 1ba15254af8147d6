"""``python -m sshjobs``."""

from .startup.finder import install_finder

install_finder()

from .cli.main import run_as_process  # noqa: E402

run_as_process()
