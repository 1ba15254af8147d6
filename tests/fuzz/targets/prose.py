"""What ssh says when a login fails."""

from __future__ import annotations

import random
import time
from pathlib import Path

from sshjobs.errors import SshJobsError, dump, load
from sshjobs.transports import ssh_errors
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

_FOLDER = Path(__file__).parent.parent.parent / "data" / "ssh_stderr"

#: Of a case of some kilobytes; a regular expression that goes astray takes minutes.
_BOUND = 5.0


class Prose:
    """Classifies any text, and says it so that a terminal can bear it."""

    name = "prose"
    share = 1.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        paths = sorted(_FOLDER.glob("*"))
        self._texts = [path.read_bytes() for path in paths]

    def make(self, rng: random.Random) -> Case:
        """Mix and spoil real texts."""
        lines = rng.choice(self._texts).splitlines(keepends=True)
        others = rng.choice(self._texts).splitlines(keepends=True)
        kind = rng.random()
        if kind < 0.3:
            return [mutate.spoil(rng, b"".join(lines))]
        if kind < 0.35:
            word = rng.choice((b"Load key ", b'"', b" line ", b"Permission denied ("))
            return [word * 1000, *lines]
        return [
            line + (b"" if line.endswith(b"\n") else b"\n")
            for line in mutate.spoil_lines(rng, lines, others)
        ]

    def try_one(self, case: Case) -> None:
        """Classify it."""
        text = b"".join(case).decode("utf-8", "backslashreplace")[:65536]
        began = time.process_time()
        error = ssh_errors.explain_failed_login("box", text, 255)
        if time.process_time() - began > _BOUND:
            raise Broken("it takes for ever to say what it means")
        if not isinstance(error, SshJobsError):
            raise Broken(f"no error of ours: {error!r}")
        if not str(error).isprintable():
            raise Broken(f"a control character: {str(error)!r}")
        if "box" not in str(error):
            raise Broken(f"the host has no name: {str(error)!r}")
        if str(load(dump(error))) != str(error):
            raise Broken("another process would say something else")
