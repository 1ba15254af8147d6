"""Everything that a login rests on, as one short digest.

A refusal is remembered for the credentials that were refused. Whoever has others,
and whoever has changed theirs since, may try: a key, a certificate, an agent's keys, a
ticket, known_hosts, ssh_config, ssh itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import stat
import struct

from ..env import find_program, read_home
from ..login_files import expand_environment, locate_agent
from ..process import Child, spawn_program
from ..pump import Pump, Silence
from .identity import Identity

_SSH_AGENTC_REQUEST_IDENTITIES = 11  # draft-miller-ssh-agent §5.2
_MOST = 1 << 20


def digest_credentials(identity: Identity) -> str:
    """Return a digest of the keys, tickets and known hosts that a login would use.

    The agent's list of keys is in it, so that ``ssh-add`` makes it another; no secret
    is read.
    """
    # Only those that are there: versions of ssh look for different ones, and a refusal
    # counts for all of them.
    config = [entry[0] for entry in identity.files]
    paths = dict.fromkeys(map(expand_environment, [*config, *identity.keys]))
    files = [found for path in paths if (found := _stat_facts(path))]
    named = [(name, os.environ.get(name)) for name in (*identity.env, *_VARIABLES)]
    agents = [_digest_agent_keys(locate_agent(path)).hex() for path in identity.agents]
    tickets = _list_tickets() if identity.gssapi else []
    text = json.dumps([identity.key, files, named, agents, tickets])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


#: What ssh itself and its libraries read of the environment for a login.
_VARIABLES = ("KRB5CCNAME", "KRB5_CONFIG", "KRB5_CLIENT_KTNAME", "SSH_SK_PROVIDER")


def _stat_facts(path: str) -> tuple[str, ...] | None:
    """Return the facts that change with a file, None if it is not there.

    The mode counts: ssh takes no key that others can read. So does the instant of the
    last change, which ``cp -p`` and ``mv`` do not bring along.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return (path,)  # /dev/null has a new time whenever somebody writes to it
    facts = (found.st_ino, found.st_size, found.st_mode, found.st_uid)
    return (path, *map(str, facts), str(found.st_mtime_ns), str(found.st_ctime_ns))


def _list_tickets() -> list[str]:
    """Return the tickets that a login by GSSAPI begins with.

    A try itself adds tickets for the host to the cache; those do not count. Where
    there is no klist, the cache's file and the place of all others tell.
    """
    config = os.environ.get("KRB5_CONFIG", "/etc/krb5.conf")
    keytab = os.environ.get("KRB5_CLIENT_KTNAME", "")
    found = [str(_stat_facts(path.removeprefix("FILE:"))) for path in (config, keytab)]
    klist = find_program("klist")
    if klist:
        said = _ask_klist(klist)
        found += [line for line in said.splitlines() if _GRANTING.search(line)]
    else:
        cache = os.environ.get("KRB5CCNAME", f"/tmp/krb5cc_{os.getuid()}")
        found.append(str(_stat_facts(cache.removeprefix("FILE:"))))
    return found


_GRANTING = re.compile(r"krbtgt/|principal:", re.I)


def _ask_klist(klist: str) -> str:
    """Return the output of ``klist -A``, alike in every language and time zone."""
    kept = {n: v for n, v in os.environ.items() if n.startswith("KRB5")}
    env = kept | {"HOME": read_home(), "LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
    pieces: list[bytes] = []
    pump = Pump(b"", pieces.append, _KLIST)
    child = None
    try:
        child = Child(spawn_program((klist, "-A"), env, pump.theirs))
        pump.close_handed_ends()
        pump.run(child.fd, child.poll)
    except (OSError, Silence):  # a cache that does not answer is as good as none
        return ""
    finally:
        pump.close()
        if child is not None:
            child.kill()
    return b"".join(pieces).decode("utf-8", "replace")


#: Seconds that a daemon which holds tickets (KCM) may be silent.
_KLIST = 3.0


def _digest_agent_keys(path: str) -> bytes:
    """Return a digest of the agent's keys; nothing if no agent answers."""
    if not path:
        return b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(2.0)
            agent.connect(path)
            agent.sendall(struct.pack(">IB", 1, _SSH_AGENTC_REQUEST_IDENTITIES))
            with agent.makefile("rb") as reply:
                (length,) = struct.unpack(">I", reply.read(4))
                return hashlib.sha256(reply.read(min(length, _MOST))).digest()
    except (OSError, struct.error):  # no agent there, or it hangs up: no keys from it
        return b""
