"""What ssh's prose means: one table, first match wins, pinned by real texts.

The texts are in ``tests/data/ssh_stderr``, one a file, named with the class that
they lead to. Order matters: a jump host's own words stand before the general ones
with which the outer ssh reports that its proxy has ended.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import (
    AuthenticationError,
    HostUnreachable,
    SpecError,
    SshJobsError,
    Throttled,
    TransportError,
)
from ..model import printable

_PERSON = (
    "with the same keys nobody here tries again until a person acts: see ssh -v "
    "{host}; a changed key file ends that, or sshjobs connect {host}, which also asks "
    "for a password or a code"
)
_FIRST = "log in once with ssh {host} and look at the key that it shows"
_CHANGED = (
    "nobody here tries again until known_hosts has changed or somebody runs sshjobs "
    "connect {host}; if the new key is expected, ssh-keygen -R forgets the old one"
)
_DOOR = (
    "the server admits no more logins now: sshd_config MaxStartups, "
    "PerSourceMaxStartups or, from OpenSSH 9.8, PerSourcePenalties; trying again later "
    "helps, raising banner_timeout does not"
)
_JUMP = "see whether ssh to the jump host works and its sshd has AllowTcpForwarding yes"
_NETWORK = "look at the network, a firewall, the host; the setting is conn_timeout"
_CLOSED = "the host closed the connection before authentication"


class _Cause(NamedTuple):
    pattern: str
    error: type[TransportError]
    hint: str
    detail: str = ""  # empty: ssh's own line says it best


_CAUSES = (
    _Cause(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        AuthenticationError,
        _CHANGED,
        "the host key is not the one that known_hosts has",
    ),
    _Cause(r"REVOKED HOST KEY|host key .*revoked", AuthenticationError, _CHANGED),
    _Cause(r"host key is known for .*strict checking", AuthenticationError, _FIRST),
    _Cause(r"Host key verification failed", AuthenticationError, _FIRST),
    _Cause(
        r"Unable to negotiate with|no matching .* found",
        AuthenticationError,
        "both sides must share one: KexAlgorithms, HostKeyAlgorithms, Ciphers",
    ),
    _Cause(
        r"Too many authentication failures",
        AuthenticationError,
        "more keys are offered than sshd's MaxAuthTries: name one with IdentityFile "
        "and IdentitiesOnly yes in ssh_config",
    ),
    _Cause(
        r'Load key ".*": (?=(?s:.*Permission denied \())', AuthenticationError, _PERSON
    ),
    _Cause(r"Permission denied \(", AuthenticationError, _PERSON),
    _Cause(
        r"Could not resolve hostname",
        HostUnreachable,
        "look at the name, at HostName in ssh_config, at the name service",
    ),
    _Cause(
        r"timed out during banner exchange",
        HostUnreachable,
        "the port is open and no ssh server greeted; conn_timeout bounds that too",
    ),
    _Cause(
        r"(connect to host|connect failed).*Connection refused",
        HostUnreachable,
        "nothing listens at that port; is sshd running, is Port right?",
    ),
    _Cause(
        r"administratively prohibited|stdio forwarding failed", HostUnreachable, _JUMP
    ),
    _Cause(
        r"connect to host .*: |connect failed: |timed out|not responding|"
        r"No route to host|Network is unreachable|Host is down",
        HostUnreachable,
        _NETWORK,
    ),
    _Cause(
        r"unix_listener|cannot bind to path|ControlPath too long",
        HostUnreachable,
        "the control socket cannot be made; give SSHJOBS_HOME a short local path",
    ),
    # The client hides the server's "Exceeded MaxStartups" (8.2 to 9.7) and "Not
    # allowed at this time" (from 9.8) below DEBUG1; a bare close is all there is.
    _Cause(
        r"Connection (closed|reset) by (?!UNKNOWN)\S+ port \d+",
        Throttled,
        _DOOR,
        _CLOSED,
    ),
    # A proxy that ended and did not reach the host. Of a ProxyCommand no more can be
    # known: with ControlPersist ssh sends its stderr to /dev/null (since 8.0).
    _Cause(
        r"(?s)\A(?!.*Authenticated to ).*UNKNOWN port 65535",
        HostUnreachable,
        "run the ProxyCommand of ssh_config by hand, or ssh to the jump host; of your "
        "environment it has *_proxy, what ssh_config names as ${{NAME}}, and what the "
        "setting master_env names",
        "the proxy ended without a connection to the host",
    ),
    _Cause(
        r"_exchange_identification: |Connection (closed|reset) by|Received disconnect|"
        r"Connection to .* closed|Broken pipe",
        Throttled,
        _DOOR,
        _CLOSED,
    ),
)

_CONFIG = re.compile(
    r"Bad configuration option|bad configuration options|Unsupported option|"
    r"Bad owner or permissions on|Can't open user config file|"
    r"command-line line \d+|command-line: line \d+|\bline \d+: ",
    re.I,
)
_UNSET = re.compile(r"env var \$\{(\w+)\} has no value|environment expansion (\S+)\.")
_NOISE = re.compile(r"^(debug\d: .*|OpenSSH_.*|Pseudo-terminal .*|[@*\s]*)$", re.M)


def words(text: str) -> str:
    """Return ssh's own words without its chatter, on one line, safe to show."""
    lines = _NOISE.sub("", text.replace("\r", "")).splitlines()
    return printable("; ".join(line.strip() for line in lines if line.strip()))[:600]


def diagnose(host: str, text: str, status: int | None) -> SshJobsError:
    """Return the error that a failed handshake means.

    Args:
        host: What the user typed.
        text: All that ssh wrote.
        status: How ssh ended.
    """
    text = text.replace("\r", "")
    unset = _UNSET.search(text)
    if unset:
        return SpecError(
            f"{host}: ssh_config uses {printable(unset[1] or unset[2])} of the "
            "environment, which is not set here; nothing ran there (cron and Airflow "
            "give other environments than a login does: set it there)"
        )
    for cause in _CAUSES:
        found = re.search(cause.pattern, text)
        if found:
            detail = cause.detail or _line(text, found.start())
            return cause.error(
                host, f"{detail}; nothing ran there", cause.hint.format(host=host)
            )
    if _CONFIG.search(text):
        return SpecError(f"{host}: ssh refuses its configuration: {words(text)}")
    said = words(text) or "it said nothing"
    return HostUnreachable(
        host, f"ssh ended with status {status}: {said}; nothing ran there", _NETWORK
    )


def _line(text: str, at: int) -> str:
    """Return the line of ``text`` that has the place ``at``."""
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:].split("\n", 1)[0].strip()
    return printable(line.removeprefix("ssh: "))[:300]
