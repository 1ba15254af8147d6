"""The rest of the manual, which only help and pages show: statuses, environment.

Apart from ``manual.py``, which each start reads.
"""

from __future__ import annotations

SUMMARY = "Run long jobs on hosts that you reach with ssh, over one connection."

#: The exit statuses of a command; keep in sync with ``exit_status`` in errors.py.
EXIT_STATUSES = (
    (0, "good"),
    (1, "a job ended badly (FAILED, CANCELLED, TIMEOUT, LOST); a copy is not whole"),
    (64, "wrong usage; nothing was done"),
    (69, "the host is unreachable, or refuses, after the whole budget; nothing ran"),
    (70, "a bug of sshjobs, or the record on this machine cannot be read"),
    (75, "not yet: accepted and not finished, and worth asking again"),
    (77, "the key or the host key was refused: a person must act"),
    (130, "interrupted (Ctrl-C)"),
)

#: Variables that every verb reads besides the command line.
ENVIRONMENT = (
    ("SSHJOBS_HOME", "record, logs and sockets (~/.local/state/sshjobs/MACHINE)"),
    ("SSHJOBS_SSH_CONFIG", "an ssh_config in place of your own, as ssh -F takes it"),
    ("SSHJOBS_CONFIG", "the config file, TOML (~/.config/sshjobs/config.toml)"),
    ("SSHJOBS_DEBUG", "1: tell each step on standard error, as --verbose does"),
    ("SSHJOBS_<NAME>", "any other setting: docs/reference/settings.md"),
)

#: The exit statuses of ``run`` instead, once its job is known to have ended.
RUN_STATUSES = (
    (None, "the job's own exit status, 255 included; 128+N after signal N"),
    (124, "TIMEOUT: the job's time was up"),
    (143, "CANCELLED"),
    (70, "LOST: the host has neither an end nor a process of the job"),
)
