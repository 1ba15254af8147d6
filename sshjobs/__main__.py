"""``python -m sshjobs``."""

from .startup.finder import hand_over_in_crowd, install_finder

install_finder()
try:
    hand_over_in_crowd()
    from .cli.main import run_as_process

    run_as_process()
except KeyboardInterrupt:  # while its modules come in
    raise SystemExit(130) from None
