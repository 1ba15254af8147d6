"""What a login rests on, as one short digest.

A refusal is remembered for the credentials that were refused. Whoever has others,
and whoever has changed theirs since, may try.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct

from .env import home
from .identity import Identity, seen

_SSH_AGENTC_REQUEST_IDENTITIES = 11  # draft-miller-ssh-agent §5.2
_MOST = 1 << 20


def credentials(identity: Identity) -> str:
    """Return a digest of the keys, tickets and known hosts that a login would use.

    The agent's list of keys is in it, so that ``ssh-add`` makes it another; no secret
    is read.
    """
    # Only those that are there: versions of ssh look for different ones, and a refusal
    # counts for all of them.
    found = [seen(_path(name)) for name in identity.keys]
    files = [(*file, _mode(file[0])) for file in found if file[2] >= 0]
    tickets = os.environ.get("KRB5CCNAME", "")
    agent = _agent_keys(_agent(identity.agent)).hex()
    text = json.dumps([identity.key, files, tickets, agent])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _mode(path: str) -> int:
    """Return who may do what: ssh takes no key that others can read."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _path(name: str) -> str:
    return home() + name[1:] if name.startswith("~/") else name


def _agent(setting: str) -> str:
    """Return the agent's socket, read as ssh_config(5) IdentityAgent says."""
    if setting == "none":
        return ""
    if setting in ("", "SSH_AUTH_SOCK"):
        return os.environ.get("SSH_AUTH_SOCK", "")
    if setting.startswith("$"):
        return os.environ.get(setting[1:].strip("{}"), "")
    return _path(setting)


def _agent_keys(path: str) -> bytes:
    """Return a digest of what the agent offers; nothing if none answers."""
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
