"""Starts what tells of ends: a process of its own, for which no round waits.

Theory of operation: a job becomes final in one transaction, of one process, and never
again; so that process alone starts the notifier, once for all ends of a reply. It is
detached: this process may be killed then, and the command still runs. If it is killed
between its transaction and the start, nobody hears of those ends: at most once. The
notifier (``cli.notifier``) finds the command and the job in the record; arguments hold
nothing but ids.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..startup.contexts import suppress

#: More ids than that are for the next notifier: an argument list has an end.
_MOST = 1000

# -c puts the current directory first (sys.path): whatever lies there is none of ours.
_CODE = (
    "import sys; sys.path[:1] = []; sys.path.insert(0, sys.argv.pop(1)); "
    "from sshjobs.cli.notifier import main; main(sys.argv[1:])"
)


def start_notifier(home: str, command: str, ids: Sequence[str]) -> None:
    """Start what runs commands for these jobs; what hinders that hinders no round.

    Args:
        home: The directory of the store.
        command: The setting ``notify`` of this process.
    """
    import subprocess

    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    env = dict(os.environ) | {"SSHJOBS_HOME": home}
    if command:
        env["SSHJOBS_NOTIFY"] = command
    with suppress(OSError):
        # O_APPEND: several notifiers write to it at once, each line whole (write(2)).
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(os.path.join(home, "notify.log"), flags, 0o600)
        try:
            for at in range(0, len(ids), _MOST):
                some = ids[at : at + _MOST]
                # The shell leaves it to init at once: nobody here has to wait for it.
                subprocess.run(
                    ["/bin/sh", "-c", '"$@" &', "sshjobs"]
                    + [sys.executable, "-c", _CODE, top, *some],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=env,
                    start_new_session=True,
                    check=False,
                )
        finally:
            os.close(log)
