"""The console script: one command line, one verb, one exit status."""

from __future__ import annotations

import os
import sys

from ..startup import finder
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from . import manual
from .parser import read_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from .arguments import Verb


def run_as_process() -> NoReturn:
    """Run the command line as a process of its own, and end it at once.

    To take the interpreter down in order would cost some 5 ms more. By then streams are
    flushed, and the store's transactions are committed.
    """
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
        return _carry_out_words(verb, words[1:], last)
    from .help import answer_call_without_verb

    answer_call_without_verb(words)


def _carry_out_words(verb: Verb, words: list[str], last: bool) -> int:
    if verb.name == "ssh" and not {"-h", "--help"} & set(words[:1]):
        from .handlers import carry_out_ssh

        return carry_out_ssh(words)
    values = read_arguments(verb, words)
    if verb.name == "demo":
        from .demo import main as demo

        return demo(values)
    if verb.name == "completion":
        from .completion import print_script

        return print_script(values)
    if verb.name == "top":
        from .top import run_top

        return run_top(values)
    prepare = None
    if finder.handover is not None:
        from .handovers import build_preparation

        prepare = build_preparation(finder.handover, values["host"])
    from .handlers import carry_out_verb

    return carry_out_verb(verb.name, values, last=last, prepare=prepare)
