"""``--from``: a job a line, an object or a shell line."""

from __future__ import annotations

import json
import random
from typing import Any

from sshjobs import protocol
from sshjobs.cli.job_requests import read_job_requests
from sshjobs.model import new_job_id
from sshjobs.verbs.context import Context
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

_LINES = (
    {"command": "echo hello"},
    {"command": ["printf", "%s", "a b"], "cwd": "~/x", "timeout": "2h"},
    {"key": "night/1", "once": True, "command": "./go", "name": "go"},
    {"command": "cat", "stdin": "text\n", "env": {"A": "1", "B": "x y"}},
    {"command": "x", "cleanup": "always", "shell": "bash", "timeout": 1.5},
)

_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "false",
    0,
    -1,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [""],
    ["a", 1],
    {"": "x"},
    {"A=B": "x"},
    {"A": 1},
    {"A": "\0"},
    "\0",
    "\ud800",
    "--help",
    "-",
    "x" * 70_000,
    "\x1b[31m",
    "../../x",
    "1" * 5000,
    "9" * 400 + "d",
)


class JobFiles:
    """Reads a batch as ``submit --from`` does, up to the program that would be sent."""

    name = "from"
    share = 1.5

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._path = ground.work / "jobs"
        environ = {"SSHJOBS_HOME": str(ground.work / "from.home")}
        self._ctx = Context(environ, {})

    def make(self, rng: random.Random) -> Case:
        """Write lines; spoil their fields, their JSON, or their bytes."""
        return [self._line(rng) + b"\n" for _ in range(rng.choice((1, 1, 2, 4)))]

    def _line(self, rng: random.Random) -> bytes:
        fields = dict(rng.choice(_LINES))
        kind = rng.random()
        if kind < 0.6:
            for _ in range(rng.choice((1, 1, 2))):
                names = [*fields, "command", "once", "timeout", "env", "key", "cwd"]
                name = rng.choice([*names, "stdin", "shell", "cleanup", "name", "x"])
                fields[name] = rng.choice(_VALUES)
            return json.dumps(fields).encode()
        text = json.dumps(fields).encode()
        if kind < 0.8:
            return mutate.spoil(rng, text).replace(b"\n", b" ")
        if kind < 0.86:
            depth = rng.choice((10, 999, 100_000))
            deep = rng.choice((b'{"command":', b"[", b'{"env":{"A":')) * depth
            return b'{"command": ' + deep
        if kind < 0.93:
            number = rng.choice(mutate.NUMBERS)
            return b'{"command": "x", "timeout": %s}' % number
        return mutate.spoil(rng, rng.choice((b"echo a", b"# note", b"{ echo x; }")))

    def try_one(self, case: Case) -> None:
        """Read it, and build the program for all that was taken."""
        self._path.write_bytes(b"".join(case))
        values = {"from": str(self._path), "host": "local"}
        job_requests = [
            protocol.Start(
                job_request.id or new_job_id(),
                job_request.spec,
                job_request.key,
                job_request.once,
                job_request.name,
            )
            for job_request in read_job_requests(self._ctx, values)
        ]
        program = protocol.build(protocol.Request(starts=tuple(job_requests)), "0" * 16)
        if b"\0" in program:
            raise Broken("a NUL byte in the program")
        for start in job_requests:
            if not isinstance(start.once, bool):
                raise Broken(f"once is {start.once!r}")
