"""The files on which a login rests, as ssh finds them in its configuration.

``ssh -G`` prints values before ssh expands them, and lists without the quotes that
held words with a space together (OpenSSH 9.2). A path that is listed here and that
ssh never reads costs one stat; one that is missing here hides that a person has acted.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import socket

from ..startup.records import TYPE_CHECKING
from .env import read_home, read_user_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


#: One path a value. Beside a key ssh looks for its public half and for certificates.
_PRIVATE = ("identityfile", "certificatefile")
_SINGLE = ("revokedhostkeys", "pkcs11provider", "securitykeyprovider")
_LISTS = ("userknownhostsfile", "globalknownhostsfile")
_COMMANDS = ("knownhostscommand", "proxycommand")
_BESIDE = ("", ".pub", "-cert", "-cert.pub")

#: So many words of a list are put together in each way that a space may stand in them.
_MOST_WORDS = 16

_TOKEN = re.compile("%[%CLdhijklnpru]")


def list_login_files(values: Mapping[str, list[str]], target: str) -> tuple[str, ...]:
    """Return every path that may decide whether a login succeeds, each once.

    ``${NAME}`` stands in them as it is, since each process has its own environment.

    Args:
        values: As ``ssh -G`` prints them.
        target: The host as ssh was given it.
    """
    tokens = expand_all_tokens(values, target)
    paths = (_make_absolute(path, tokens) for path in _find_paths(values))
    return tuple(dict.fromkeys(path for path in paths if path))


def list_agent_paths(values: Mapping[str, list[str]], target: str) -> tuple[str, ...]:
    """Return where the agent listens: a path, ``$NAME``, or nothing without one.

    Source: ssh_config(5) IdentityAgent.
    """
    (said,) = values.get("identityagent", [])[-1:] or ["SSH_AUTH_SOCK"]
    if said == "none":
        return ()
    if said == "SSH_AUTH_SOCK":
        return ("$SSH_AUTH_SOCK",)
    return (
        (
            said
            if said[:1] == "$"
            else _make_absolute(said, expand_all_tokens(values, target))
        ),
    )


def locate_agent(place: str) -> str:
    """Return the socket of an agent that :func:`list_agent_paths` has named."""
    if place[:1] == "$":
        return os.environ.get(place[1:].strip("{}"), "")
    return expand_environment(place)


def expand_environment(text: str) -> str:
    """Put the environment into ``${NAME}``, as ssh does when it uses the value."""
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), text)


def _find_paths(values: Mapping[str, list[str]]) -> Iterator[str]:
    for name in _PRIVATE:
        for value in values.get(name, []):
            yield from (value + ending for ending in _BESIDE)
    for name in _SINGLE:
        yield from values.get(name, [])
    for name in _LISTS:
        for value in values.get(name, []):
            yield from _join_words(value)
    for name in _COMMANDS:
        for value in values.get(name, []):
            yield from (word for word in split_words(value) if "/" in word)


def _join_words(text: str) -> Iterator[str]:
    """Yield each run of words, since a space may part two paths or be in one."""
    words = text.split(" ")[:_MOST_WORDS]
    for begin in range(len(words)):
        for end in range(begin + 1, len(words) + 1):
            yield " ".join(words[begin:end])


def split_words(command: str) -> list[str]:
    """Return the words of a command line, as nearly as a shell would read it."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _make_absolute(path: str, tokens: Mapping[str, str]) -> str:
    path = _expand_home(path.replace('"', ""))
    path = _TOKEN.sub(lambda found: tokens[found[0]], path)
    return os.path.join("/", path) if path else ""  # where a master starts


def _expand_home(path: str) -> str:
    """Put a home directory for ``~`` and ``~NAME``, as the system records it."""
    if not path.startswith("~"):
        return path
    name, slash, rest = path[1:].partition("/")
    try:
        return (pwd.getpwnam(name).pw_dir if name else read_home()) + slash + rest
    except KeyError:
        return path


def list_first_files(path: str) -> list[str]:
    """Return the files that ssh reads first; of a path for its ``-F`` only that."""
    if path:
        return [path]
    return [os.path.join(read_home(), ".ssh/config"), "/etc/ssh/ssh_config"]


def expand_all_tokens(values: Mapping[str, list[str]], target: str) -> dict[str, str]:
    """Return the meaning of each token of ssh_config(5) (TOKENS, 9.2)."""
    import hashlib

    here = socket.gethostname()
    typed = target.rpartition("@")[2]
    host, port, user = (
        (values.get(name) or [""])[-1] for name in ("hostname", "port", "user")
    )
    hop = (values.get("proxyjump") or [""])[-1].rpartition(",")[2].rpartition("@")[2]
    jump = "" if hop == "none" else hop.partition(":")[0]
    # From 9.6 on the jump host is in %C too, where there is one.
    connection = (here + host + port + user + jump).encode("utf-8", "surrogateescape")
    return {
        "%%": "%",
        "%C": hashlib.sha1(connection).hexdigest(),
        "%L": here.partition(".")[0],
        "%d": read_home(),
        "%h": host,
        "%i": str(os.geteuid()),
        "%j": jump,
        "%k": (values.get("hostkeyalias") or [typed])[-1],
        "%l": here,
        "%n": typed,
        "%p": port,
        "%r": user,
        "%u": read_user_name(),
    }
