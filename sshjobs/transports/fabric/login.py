"""One login by Fabric: which keys, which host keys, through which hosts.

A failure is told in ssh's words, so that one table (:mod:`~..ssh_errors`) explains it,
whoever made the connection. Nobody is ever asked anything.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import fabric
from paramiko import (
    AuthenticationException,
    ChannelException,
    Message,
    MissingHostKeyPolicy,
    PKey,
    SSHClient,
    SSHException,
    Transport,
)
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from ...errors import SpecError
from ...host_names import check_hop
from ...model import printable
from . import config as conf
from .keys import OnePassword, UnusableKey, list_keys
from .known_hosts import Checks, Refused, names_of

#: How many jump hosts may stand in a row.
_MOST_HOPS = 10

_Values = dict[str, list[str]]


#: Signatures by SHA-1, which OpenSSH takes and gives no more (since 8.8), and paramiko
#: does up to 4.0. Airflow's ssh provider (7.0.1) keeps paramiko below 4.
_SHA1 = ("ssh-rsa", "ssh-dss")


class Failed(Exception):
    """There is no connection; the text is in ssh's words.

    ``said`` has the words that the host had shown to the user.
    """

    def __init__(self, text: str, said: str = "") -> None:
        super().__init__(text)
        self.said = said


def log_in(order: dict[str, Any]) -> Transport:
    """Return an authenticated connection.

    Args:
        order: ``host``, ``target``, ``config`` and ``options`` as in
            :class:`.identity.Identity`, ``connect`` and ``log_in`` in seconds.

    Raises:
        Failed: there is none.
    """
    host, path = order["host"], order["config"]
    options = tuple(order["options"])
    try:
        hop = _Hop(conf.read_files(host, path, options), order, order["target"])
    except SpecError as error:  # it has changed since it was resolved
        raise Failed(f"command-line line 0: {error}") from error
    hop.open()
    transport: Transport = hop.connection.transport
    return transport


class _Transport(Transport):
    """A connection on which nothing is signed by SHA-1, though paramiko would."""

    def __init__(self, sock: Any, **kwargs: Any) -> None:
        disabled = dict(kwargs.pop("disabled_algorithms", None) or {})
        certs = [f"{kind}-cert-v01@openssh.com" for kind in _SHA1]
        disabled["pubkeys"] = [*disabled.get("pubkeys", ()), *_SHA1, *certs]
        super().__init__(sock, disabled_algorithms=disabled, **kwargs)

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        """Take a host's signature only by the algorithm that was agreed upon.

        paramiko takes one by SHA-1 in place of it (up to 4.0): RFC 8332, section 3.
        """
        used = Message(sig).get_text()
        if used != self.host_key_type:
            raise Refused(
                f"Host key verification failed: the host signed by {printable(used)}, "
                f"not by {self.host_key_type} as was agreed"
            )
        super()._verify_key(host_key, sig)  # type: ignore[misc]


class _Hop:
    """One connection: the host's, or that of a jump host on the way to it."""

    def __init__(
        self,
        reading: conf.Reading,
        order: dict[str, Any],
        target: str,
        port: int = 0,
        before: tuple[str, ...] = (),
        depth: int = 0,
    ) -> None:
        self.values = conf.look_up_values(reading, target)
        if port:
            self.values["port"] = [str(port)]
        self._name = conf.first_value(self.values, "hostname")
        self._port = int(conf.first_value(self.values, "port"))
        self._order = order
        # A jump host is told no secret of the host's.
        self._secrets = {} if depth else order
        self._transport: Transport | None = None
        self._way = self._find_jump(reading, target, before, depth)
        self.connection = self._make_connection(reading, target)

    def _find_jump(
        self,
        reading: conf.Reading,
        target: str,
        before: tuple[str, ...],
        depth: int,
    ) -> _Hop | None:
        """Return the jump host that leads here, if one does."""
        jumps = before or tuple(conf.first_value(self.values, "proxyjump").split(","))
        *earlier, last = jumps
        if not last:
            return None
        user, name, port = check_hop(last)
        if name == target.rpartition("@")[2]:  # ssh skips a jump to itself
            return None
        if depth >= _MOST_HOPS:
            raise Failed(f"ssh: Could not resolve hostname {name}: too many jump hosts")
        who = f"{user}@{name}" if user else name
        if not depth:  # options are for the host itself
            reading = conf.read_files(self._order["host"], self._order["config"], ())
        return _Hop(reading, self._order, who, port, tuple(earlier), depth + 1)

    def _make_connection(self, reading: conf.Reading, target: str) -> Any:
        values = self.values
        kwargs = {
            "banner_timeout": self._order["connect"],
            "auth_timeout": self._order["login"],
            "channel_timeout": self._order["connect"],
            "transport_factory": self._new_transport,
        }
        # lazy: what a fabric.yaml says is about another tool.
        config = fabric.Config(
            ssh_config=reading.config,
            lazy=True,
            overrides={
                "authentication": {
                    "strategy_class": _make_strategy(values, self._secrets)
                }
            },
        )
        connection = fabric.Connection(
            target.rpartition("@")[2],
            user=conf.first_value(values, "user"),
            port=self._port,
            config=config,
            gateway=self._way.connection if self._way else False,
            forward_agent=False,
            connect_timeout=max(1, int(self._order["connect"])),
            connect_kwargs=kwargs,
        )
        connection.host = self._name
        connection.client.set_missing_host_key_policy(_Policy(self._host_key_checks()))
        return connection

    def _host_key_checks(self) -> Checks:
        values = self.values
        if conf.says_yes(values, "nohostauthenticationforlocalhost") and (
            self._name in ("localhost", "127.0.0.1", "::1")
        ):
            return Checks([self._name], [os.devnull], "no")
        alias = conf.first_value(values, "hostkeyalias")
        return Checks(
            names_of(self._name, self._port, alias),
            conf.known_hosts_files(values),
            conf.first_value(values, "stricthostkeychecking", "ask").lower(),
            conf.says_yes(values, "hashknownhosts"),
        )

    def _new_transport(self, sock: Any, **kwargs: Any) -> Transport:
        """Make the transport, so that the host is asked for a key that is known."""
        if isinstance(sock, socket.socket) and sock.family != socket.AF_UNIX:
            # Without it each command costs 47 ms (paramiko 5.1: Nagle, delayed ACK).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = self._transport = _Transport(sock, **kwargs)
        security = transport.get_security_options()
        kinds = set(self._host_key_checks().list_kinds())
        security.kex = [kex for kex in security.kex if not kex.endswith("-sha1")]
        # known_hosts names a key by its kind, whichever algorithm it signs by.
        if "ssh-rsa" in kinds:
            kinds |= {"rsa-sha2-256", "rsa-sha2-512"}
        security.key_types = sorted(
            (kind for kind in security.key_types if kind not in _SHA1),
            key=lambda kind: kind not in kinds,
        )
        return transport

    def open(self) -> None:
        """Connect and log in.

        Raises:
            Failed: that came to nothing.
        """
        if self._way is not None:
            self._way.open()
        try:
            command = conf.first_value(self.values, "proxycommand")
            if command:
                self.connection.connect_kwargs["sock"] = _start_proxy(command)
            self.connection.open()
        except Refused as error:
            raise Failed(str(error)) from error
        except (SSHException, OSError, EOFError) as error:
            raise Failed(self._say_as_ssh(error), self._host_words()) from error
        if not self.connection.transport.is_authenticated():
            raise Failed(self._say_denied(["a second step is asked for"]))

    def _host_words(self) -> str:
        """Return the host's own words (RFC 4252 §5.4), as far as they came."""
        # get_banner() has it only while the connection lives (paramiko 5.1).
        handler = getattr(self._transport, "auth_handler", None)
        banner: bytes = getattr(handler, "banner", None) or b""
        return banner.decode("utf-8", "replace")

    def _say_as_ssh(self, error: Exception) -> str:
        """Return an error of paramiko in ssh's words."""
        if isinstance(error, ChannelException):
            # RFC 4254 §5.1: the reasons that a jump host has for opening no channel.
            reasons = {1: "administratively prohibited", 2: "connect failed"}
            reason = f"{reasons.get(error.code, '')}: {error.text}"
            return f"channel 0: open failed: {reason}\nstdio forwarding failed"
        if isinstance(error, IncompatiblePeer):
            return f"Unable to negotiate with {self._name} port {self._port}: {error}"
        if self._transport is None:
            return self._say_no_way(error)
        if isinstance(error, AuthenticationException):
            lost = _find_lost_connection(error)
            if lost is None:
                results = getattr(error, "result", [])
                unusable = [
                    one for one in results if isinstance(one.source, UnusableKey)
                ]
                return self._say_denied([one.source.reason for one in unusable])
            return self._say_cut(lost, self._transport, signed=True)
        return self._say_cut(error, self._transport)

    def _say_no_way(self, error: Exception) -> str:
        if isinstance(error, socket.gaierror):
            return f"ssh: Could not resolve hostname {self._name}: {error.strerror}"
        if isinstance(error, NoValidConnectionsError):
            error = next(iter(error.errors.values()))
        if isinstance(error, TimeoutError):
            said = os.strerror(errno.ETIMEDOUT)
        else:
            said = getattr(error, "strerror", None) or str(error)
        return f"ssh: connect to host {self._name} port {self._port}: {said}"

    def _say_denied(self, reasons: list[str]) -> str:
        user = conf.first_value(self.values, "user")
        return "\n".join(
            [*reasons, f"{user}@{self._name}: Permission denied (publickey)."]
        )

    def _say_cut(
        self, error: Exception, transport: Transport, *, signed: bool = False
    ) -> str:
        """Explain in ssh's words that the connection ended before the login did."""
        place = f"{self._name} port {self._port}"
        greeted = bool(transport.remote_version)
        late = isinstance(error, TimeoutError) or "timed out" in str(error).lower()
        # start_client() returns without a word as its time is over (paramiko 5.1);
        # what is asked next finds no key, and the transport alive.
        if late or transport.is_active():
            if greeted:
                return f"Connection to {place} timed out"
            return "Connection timed out during banner exchange"
        if conf.first_value(self.values, "proxycommand") and not greeted:
            return "Connection closed by UNKNOWN port 65535"
        # paramiko signs at once, and a key that is not taken is answered; so a host
        # that closes then has looked at the account, with a word or without one
        # (auth2.c, 9.2).
        took = "Server accepts key: \n" if signed or self._host_words() else ""
        return f"{took}{error}\nConnection closed by {place}"


def _start_proxy(command: str) -> socket.socket:
    """Start a ProxyCommand by the shell, as ssh does; return our end of its socket.

    Its stderr is ours, which is the connection's log.
    """
    import subprocess

    ours, theirs = socket.socketpair()
    with theirs:
        shell = os.environ.get("SHELL", "/bin/sh")
        argv = [shell, "-c", f"exec {command}"]
        subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno())
    return ours


class _Policy(MissingHostKeyPolicy):
    """Judges every host key: paramiko is given none to compare by itself."""

    def __init__(self, checks: Checks) -> None:
        self._host_key_checks = checks

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Return if the key is good; raise ``Refused`` if not."""
        self._host_key_checks.judge_key(key.get_name(), key.asbytes())


def _make_strategy(values: _Values, secrets: dict[str, Any]) -> type[AuthStrategy]:
    """Return the way to authenticate, as Fabric asks for it: a class.

    Args:
        secrets: ``password`` and ``passphrase``, where there are such.
    """

    class Keys(AuthStrategy):
        """Keys: the agent's that are named, its others, the files'; then a password."""

        def __init__(self, ssh_config: Any, fabric_config: Any, username: str) -> None:
            super().__init__(ssh_config=ssh_config)
            self.username = username

        def get_sources(self) -> Iterator[AuthSource]:
            """Yield the keys to try, in the order in which ssh would."""
            if conf.says_yes(values, "pubkeyauthentication", "yes"):
                for key in list_keys(values, secrets.get("passphrase", "")):
                    if isinstance(key, PKey):
                        yield InMemoryPrivateKey(self.username, key)
                    else:
                        yield UnusableKey(self.username, key)
            if secrets.get("password"):
                yield OnePassword(self.username, secrets["password"])

    return Keys


#: What paramiko 5.1 says, some of it as a failed authentication, of a connection that
#: ended or fell silent in the middle of one (auth_handler.py, transport.py).
_LOST = ("saw EOF", "Authentication timeout", "No existing session")


def _find_lost_connection(error: AuthenticationException) -> Exception | None:
    """Return how the connection was lost, if keys were tried and none was judged."""
    tried = [
        one.result
        for one in getattr(error, "result", [])
        if not isinstance(one.source, UnusableKey)
    ]
    lost = [
        result
        for result in tried
        if isinstance(result, (OSError, EOFError))
        or any(text in str(result) for text in _LOST)
    ]
    return lost[0] if lost and lost == tried else None
