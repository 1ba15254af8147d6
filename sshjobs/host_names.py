"""How a host is named: ``[USER@]NAME``, a URI of ssh, a jump host; each read once.

Pure: no name is looked up.
"""

from __future__ import annotations

from .errors import SpecError
from .model import POOL
from .startup.records import Record

#: Letters that OpenSSH 9.6 takes in no name of a host (valid_hostname(), ssh.c), and
#: the comma, which 10.3 refuses too.
_HOST_MARKS = frozenset("'`\"$\\;&<>|(){},")

#: And in no name of a user (valid_ruser(), ssh.c).
_USER_MARKS = frozenset("'`\";&<>|(){}")


class Address(Record):
    """A HOST, read; an empty user and port 0 are as ssh_config says."""

    user: str
    name: str
    port: int = 0

    @property
    def target(self) -> str:
        """The word for ssh, which says all but the port."""
        return f"{self.user}@{self.name}" if self.user else self.name


def check_host(host: str) -> Address:
    """Return the parts of a HOST, if no shell and no ssh can take it for more.

    A HOST is ``[USER@]NAME``, ``ssh:NAME`` for an alias that is called ``local`` or
    ``pool:...``, or ``ssh://[USER@]NAME[:PORT]``. A ProxyCommand or ``Match exec`` puts
    it into the line of a shell, and OpenSSH looks at it from 9.6 on only.

    Raises:
        SpecError: it is empty, begins with ``-``, has white space, control characters
            or marks of a shell, or is a pool.
    """
    if host.startswith(POOL):
        raise SpecError(
            f"{host!r} is a pool, and here is the place of one host; say ssh:{host} if "
            "an ssh_config alias has that name"
        )
    try:
        if host.startswith("ssh://"):
            return _read_uri(host)
        return check_address(host.removeprefix("ssh:"))
    except ValueError as error:
        why = f" ({error})" if str(error) else ""
        raise SpecError(f"not a host name: {host!r}{why}") from error


def check_hop(word: str) -> Address:
    """Return the parts of a jump host: ``[USER@]NAME[:PORT]`` or a URI.

    Raises:
        SpecError: as of :func:`check_host`.
    """
    word = word.strip()
    try:
        if word.startswith("ssh://"):
            return _read_uri(word)
        at, place = word.rfind("@") + 1, word.rpartition("@")[2]
        if place.startswith("[") or place.count(":") == 1:
            return _read_uri(f"ssh://{word[:at].replace('%', '%25')}{place}")
        return check_address(word)
    except ValueError as error:
        raise SpecError(f"not a jump host: {word!r}") from error


def _read_uri(uri: str) -> Address:
    """Return the parts of ``ssh://[USER@]NAME[:PORT]`` (misc.c parse_uri(), 9.6)."""
    user, at, place = uri.removeprefix("ssh://").removesuffix("/").rpartition("@")
    if place.startswith("["):
        name, bracket, rest = place[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":"):
            raise ValueError("a bracket is not closed")
        port = rest
    else:
        name, colon, number = place.partition(":")
        port = colon + number
    if "/" in place:
        raise ValueError("a URI of ssh has no path")
    found = check_address(_decode(user) + at + _decode(name))
    return found._replace(port=check_port(port[1:]) if port else 0)


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text, errors="strict")


def check_address(text: str) -> Address:
    """Return ``[USER@]NAME`` taken apart.

    Raises:
        ValueError: ssh would not take it.
    """
    user, at, name = text.rpartition("@")
    if at:
        check_user(user)
    if not _is_word(name, _HOST_MARKS):
        raise ValueError
    return Address(user, name)


def check_user(user: str) -> str:
    """Return the name of a user, if no shell can take it for more.

    ``$`` may end it, as it does that of a machine in a Windows domain.

    Raises:
        ValueError: ssh would not take it, or a shell would put another text there.
    """
    if not _is_word(user, _USER_MARKS) or user[-1] == "\\" or "$" in user[:-1]:
        raise ValueError
    return user


def _is_word(text: str, marks: frozenset[str]) -> bool:
    plain = text.isprintable() and " " not in text and not marks & set(text)
    return bool(text) and plain and text[0] != "-"


def check_port(text: str) -> int:
    """Return the number of a TCP port.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise ValueError(f"not a port: {text!r}")
    return int(text)
