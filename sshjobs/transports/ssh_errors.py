"""One table that explains ssh's prose, pinned by real texts.

The texts are in ``tests/data/ssh_stderr``, one a file, named with the class that
they lead to. ssh says last why it gave up, so that the latest match wins. Some lines
only echo an earlier one, such as the outer ssh's word that its proxy has ended: each
cause has a rank, and a match of a higher rank beats one of a lower rank wherever it
stands.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import (
    AccountRefused,
    AuthenticationError,
    HostUnreachable,
    SpecError,
    SshJobsError,
    StoreError,
    Throttled,
    TransportError,
    add_hint,
    find_hint,
)
from ..model import printable

_CLOSED = "the host closed the connection before authentication"


class _Cause(NamedTuple):
    pattern: str
    error: type[TransportError]
    hint: str  # its code, see sshjobs.hints
    detail: str = ""  # empty: ssh's own line says it best
    rank: int = 2


#: Ranks below that of ssh's own causes: a line that echoes one, and the word that a
#: connection has ended, of which nothing but that is known.
_ECHO, _ENDED = 1, 0


_CAUSES = (
    _Cause(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        AuthenticationError,
        "login:changed key",
        "the host key is not the one that known_hosts has",
    ),
    _Cause(
        r"REVOKED HOST KEY|host key .*revoked", AuthenticationError, "login:changed key"
    ),
    _Cause(
        r"host key is known for .*strict checking", AuthenticationError, "login:first"
    ),
    _Cause(
        r"Host key verification failed",
        AuthenticationError,
        "login:first",
        "",
        rank=_ECHO,
    ),
    _Cause(
        r"Unable to negotiate with|no matching .* found",
        AuthenticationError,
        "login:algorithms",
    ),
    _Cause(
        r"Too many authentication failures",
        AuthenticationError,
        "login:many keys",
    ),
    _Cause(
        r'Load key ".*": (?s:.*Permission denied \()',
        AuthenticationError,
        "login:person",
    ),
    _Cause(r"Permission denied \(", AuthenticationError, "login:person"),
    # RFC 4253 §11.1: 12 is "too many connections", 14 "no more methods".
    _Cause(
        r"Received disconnect from .*:14: |No (more|supported) authentication methods",
        AuthenticationError,
        "login:person",
    ),
    _Cause(r"Received disconnect from .*:12: ", Throttled, "login:throttled"),
    _Cause(r"Received disconnect from .*?:\d+: ", HostUnreachable, "login:own words"),
    _Cause(
        r"Could not resolve hostname",
        HostUnreachable,
        "login:name",
    ),
    _Cause(
        r"timed out during banner exchange",
        HostUnreachable,
        "login:banner",
    ),
    _Cause(
        r"(connect to host|connect failed).*Connection refused",
        HostUnreachable,
        "login:port",
    ),
    _Cause(r"administratively prohibited", HostUnreachable, "login:jump"),
    _Cause(r"stdio forwarding failed", HostUnreachable, "login:jump", "", rank=_ECHO),
    _Cause(
        r"connect to host .*: |connect failed: |"
        r"No route to host|Network is unreachable|Host is down",
        HostUnreachable,
        "login:network",
    ),
    _Cause(
        r"timed out|not responding", HostUnreachable, "login:network", "", rank=_ECHO
    ),
    # The server's own words are at DEBUG1 only, see _INSTEAD.
    _Cause(
        r"Connection (closed|reset) by (?!UNKNOWN)\S+ port \d+",
        Throttled,
        "login:throttled",
        _CLOSED,
    ),
    # A proxy that ended and did not reach the host. Of a ProxyCommand no more can be
    # known: with ControlPersist ssh sends its stderr to /dev/null (since 8.0).
    _Cause(
        r"(?s)\A(?!.*Authenticated to ).*UNKNOWN port 65535",
        HostUnreachable,
        "login:proxy",
        "the proxy ended without a connection to the host",
        rank=_ECHO,
    ),
    _Cause(
        r"_exchange_identification: |Connection (closed|reset) by|"
        r"Connection to .* closed|Broken pipe",
        Throttled,
        "login:throttled",
        _CLOSED,
        rank=_ENDED,
    ),
)

_CONFIG = re.compile(
    r"Bad configuration option|bad configuration options|Unsupported option|"
    r"Bad owner or permissions on|Can't open user config file|"
    r"command-line line \d+|command-line: line \d+|\bline \d+: ",
    re.I,
)
_UNSET = re.compile(r"env var \$\{(\w+)\} has no value|environment expansion (\S+)\.")

#: What a server says in place of its greeting: "Exceeded MaxStartups" (8.2 to 9.7) or
#: "Not allowed at this time" (from 9.8). There by LogVerbose, which also puts the place
#: in its source before each line of such a function.
_INSTEAD = re.compile(r"banner line \d+: (.+)")
_PLACE = re.compile(r"^[\w-]+\.c:\w+\(\):\d+ \(pid=\d+\): ", re.M)
_NOISE = re.compile(r"^(debug\d: .*|OpenSSH_.*|Pseudo-terminal .*|[@*\s]*)$", re.M)


def clean_words(text: str) -> str:
    """Return ssh's own words without its chatter, on one line, safe to show."""
    lines = _PLACE.sub("", _NOISE.sub("", text.replace("\r", ""))).splitlines()
    return printable("; ".join(line.strip() for line in lines if line.strip()))[:600]


#: The key was good, and no "Authenticated to" came of it: PAM looks at the account
#: then (auth2.c, 9.2). LogVerbose brings the first line,
#: see :mod:`~.openssh.command_lines`.
_ACCEPTED = re.compile(
    r"Server accepts key: (?s:(?!.*(?:Server accepts key|Authenticated to |"
    r"Permission denied \()).*?)^(.*(?:Connection (?:closed|reset) by|"
    r"Received disconnect|Connection to .* closed|Broken pipe).*)$",
    re.M,
)


#: Of the control socket, after the login: nothing that the host has a part in.
_OURS = re.compile(
    r"unix_listener|cannot bind to path|ControlPath too long|muxserver_listen|"
    r"link mux listener"
)


def explain_failed_login(
    host: str, text: str, status: int | None, said: str = ""
) -> SshJobsError:
    """Return the error that a failed handshake means.

    Args:
        host: The HOST that the user typed.
        text: All that ssh wrote.
        status: How ssh ended.
        said: The words that the host had it show to the user.
    """
    text = text.replace("\r", "")
    said += "\n".join(_INSTEAD.findall(text))
    more = f"; the host said: {clean_words(said)}" * bool(clean_words(said))
    more += "; nothing ran there"
    unset = _UNSET.search(text)
    if unset:
        wrong = SpecError(
            f"{host}: ssh_config uses {printable(unset[1] or unset[2])} of the "
            "environment, which is not set here; nothing ran there"
        )
        return add_hint(wrong, find_hint("login:environment"))
    accepted = _ACCEPTED.search(text)
    if accepted:
        line = _line(text, accepted.start(1))
        detail = f"the key was accepted, and then the account was refused: {line}"
        return AccountRefused(host, detail + more, find_hint("login:account"))
    text = _PLACE.sub("", _NOISE.sub("", text))
    ours = _OURS.search(text)
    if ours:
        failed = f"{host}: {_line(text, ours.start())}; nothing ran there"
        return add_hint(StoreError(failed), find_hint("here:socket"))
    found = _find_cause(text)
    if found is not None:
        cause, at = found
        hint = find_hint(cause.hint, host=host)
        return cause.error(host, (cause.detail or _line(text, at)) + more, hint)
    if _CONFIG.search(text):
        return SpecError(f"{host}: ssh refuses its configuration: {clean_words(text)}")
    why = clean_words(text) or "it said nothing"
    return HostUnreachable(
        host,
        f"ssh ended with status {status}: {why}{more}",
        find_hint("login:network"),
    )


def _find_cause(text: str) -> tuple[_Cause, int] | None:
    """Return the cause that counts, and where its words begin.

    Of those that end at one place, the one that stands first in the table counts.
    """
    best: tuple[tuple[int, int], _Cause, int] | None = None
    for cause in _CAUSES:
        for found in re.finditer(cause.pattern, text):
            weight = (cause.rank, found.end())
            if best is None or weight > best[0]:
                best = weight, cause, found.start()
    return best and best[1:]


def _line(text: str, at: int) -> str:
    """Return the line of ``text`` that has the place ``at``."""
    line = text[:at].rpartition("\n")[2] + text[at:].partition("\n")[0]
    return printable(line.strip().removeprefix("ssh: "))[:300]
