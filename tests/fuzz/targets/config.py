"""The config file and the environment."""

from __future__ import annotations

import random

from sshjobs.errors import SpecError
from sshjobs.settings import SETTINGS
from sshjobs.verbs.context import Context
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

_VALUES = (
    b"1",
    b"-1",
    b"true",
    b'"on_success"',
    b'"10m"',
    b"[]",
    b"{}",
    b"[1, 'a']",
    b"1e400",
    b"nan",
    b"inf",
    b"9" * 30,
    b"0x1f",
    b"1979-05-27",
    b"1979-05-27T07:32:00Z",
    b"'''\nx\n'''",
    b'"\\u0000"',
    b'"~root"',
    b'"$HOME/x"',
    b'""',
)


class Configs:
    """Reads any file as TOML, and takes the settings of two hosts out of it."""

    name = "config"
    share = 1.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._path = ground.work / "config.toml"

    def make(self, rng: random.Random) -> Case:
        """Write settings with odd values, in odd places, in odd TOML."""
        names = [setting.name.encode() for setting in SETTINGS] + [b"hots", b"host"]
        lines = []
        for _ in range(rng.choice((1, 2, 5))):
            value = rng.choice((*_VALUES, rng.choice(mutate.HOSTILE)))
            lines.append(b"%s = %s\n" % (rng.choice(names), value))
        if rng.random() < 0.6:
            head = (b'[host."box"]\n', b"[host.box]\n", b"[[host]]\n", b"[host]\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(head))
        if rng.random() < 0.2:
            lines.append(b"host.box = %s\n" % rng.choice(_VALUES))
        if rng.random() < 0.05:
            lines.append(b"x = " + rng.choice((b"[", b"{a=")) * 5000)
        if rng.random() < 0.3:
            lines = [mutate.spoil(rng, b"".join(lines))]
        # The last piece is the environment's.
        return [*lines, rng.choice(names), rng.choice(mutate.HOSTILE)[:2000]]

    def try_one(self, case: Case) -> None:
        """Read it all; no setting may come out that is not what it says."""
        *lines, name, value = [b"", b"", *case] if len(case) < 2 else case
        self._path.write_bytes(b"".join(lines))
        variable = f"SSHJOBS_{name.decode('utf-8', 'surrogateescape').upper()}"
        text = value.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        environ = {"SSHJOBS_CONFIG": str(self._path), variable: text}
        environ |= {"SSHJOBS_HOME": str(self._ground.work / "config.home")}
        for host in ("box", "other"):
            try:
                settings = Context(environ).settings(host)
            except SpecError as error:
                if not str(error):
                    raise Broken("an error that says nothing") from error
                continue
            for setting in SETTINGS:
                found = getattr(settings, setting.name)
                if type(found) is not type(setting.default):
                    raise Broken(f"{setting.name} is {found!r}")
