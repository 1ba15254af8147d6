"""The console script: one command line, one verb, one exit status."""

from __future__ import annotations

import gc
import os
import sys

from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from . import manual
from .parser import read_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def run_as_process() -> NoReturn:
    """Run the command line as a process of its own, and end it at once.

    Such a process makes too little garbage to look for it (7 of 48 ms, CPython 3.11);
    and to take the interpreter down in order costs some 5 ms more. By then streams are
    flushed, and the store's transactions are committed.
    """
    gc.set_threshold(50_000)
    reset_signals()
    status = main(last=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def reset_signals() -> None:
    """Have signals act as our pages say, even if our parent has changed them.

    An ignored SIGCHLD leaves no child a status; SIGTERM, blocked or ignored, ends
    nothing. SIGHUP stays as it is, which is what nohup is for, and so do SIGINT and
    SIGQUIT, which a shell has a background process ignore. Python itself sees to
    SIGPIPE. These are three system calls.
    """
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(argv: Sequence[str] | None = None, *, last: bool = False) -> int:
    """Run the command line; return the exit status.

    Args:
        last: See :func:`.handlers.carry_out_verb`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    verb = manual.find_verb(words[0]) if words else None
    if verb is None:
        if words[:1] == ["__complete"]:
            from .completion import answer_shell

            return answer_shell(words[1:])
        from .aliases import read_alias

        words = read_alias(words)
        verb = manual.find_verb(words[0])
    if verb is not None:
        if verb.name == "ssh" and not {"-h", "--help"} & set(words[1:2]):
            from .handlers import carry_out_ssh

            return carry_out_ssh(words[1:])
        values = read_arguments(verb, words[1:])
        if verb.name == "demo":
            from .demo import main as demo

            return demo(values)
        if verb.name == "completion":
            from .completion import print_script

            return print_script(values)
        if verb.name == "top":
            from .top import run_top

            return run_top(values)
        from .handlers import carry_out_verb

        return carry_out_verb(verb.name, values, last=last)
    from .help import answer_call_without_verb

    answer_call_without_verb(words)
