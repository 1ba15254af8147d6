"""What one login by Fabric tries: keys in ssh's order, then a password, once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from paramiko import (
    Agent,
    AuthenticationException,
    BadAuthenticationType,
    PKey,
    SSHException,
    Transport,
)
from paramiko.auth_strategy import AuthSource

from . import config as conf

Values = dict[str, list[str]]


class UnusableKey(AuthSource):
    """A key that cannot be tried, and why."""

    def __init__(self, username: str, reason: str) -> None:
        super().__init__(username=username)
        self.reason = reason

    def authenticate(self, transport: Transport) -> list[str]:
        """Fail, with the reason."""
        raise AuthenticationException(self.reason)


class OnePassword(AuthSource):
    """A password, sent once: by the method of that name, or as the one answer."""

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username=username)
        self._password = password

    def __repr__(self) -> str:
        return "<a password>"

    def authenticate(self, transport: Transport) -> list[str]:
        """Log in with it."""
        try:
            transport.auth_none(self.username)
        except BadAuthenticationType as error:
            if "password" in error.allowed_types:
                return transport.auth_password(
                    self.username, self._password, fallback=False
                )
            return transport.auth_interactive(self.username, self._answer)
        return []

    def _answer(
        self, title: str, instructions: str, prompts: list[tuple[str, bool]]
    ) -> list[str]:
        """Answer one question for a password, and no other."""
        if len(prompts) == 1 and "assword" in prompts[0][0] and self._password:
            password, self._password = self._password, ""
            return [password]
        return [""] * len(prompts)


def list_keys(values: Values, passphrase: str) -> Iterator[PKey | str]:
    """Yield the keys to try, in the order in which ssh would; or why not one of them.

    ``passphrase`` opens key files that have one.
    """
    paths = conf.identity_files(values)
    named = [blob for path in paths for blob in _read_public_half(path)]
    agent = _list_agent_keys(values)
    only = conf.says_yes(values, "identitiesonly")
    offered = [key for key in agent if key.asbytes() in named]
    yield from offered
    if not only:
        yield from (key for key in agent if key.asbytes() not in named)
    held = {key.asbytes() for key in offered}
    for path in paths:
        if not held.intersection(_read_public_half(path)):
            key = _load_key(path, passphrase)
            if isinstance(key, str) or (key and key.asbytes() not in held):
                yield key


def _list_agent_keys(values: Values) -> list[PKey]:
    """Return the keys of the agent, read as ssh_config(5) IdentityAgent says."""
    said = conf.first_value(values, "identityagent", "SSH_AUTH_SOCK")
    if said == "none":
        return []
    if said != "SSH_AUTH_SOCK":
        os.environ["SSH_AUTH_SOCK"] = os.path.expandvars(said)
    try:
        return list(Agent().get_keys())
    except SSHException:  # it answers nonsense: no keys from there
        return []


def _read_public_half(path: str) -> list[bytes]:
    """Return the public half of a key file, where it lies beside it."""
    import base64
    import binascii

    for name in (path, f"{path}.pub"):
        try:
            with open(name, encoding="ascii") as file:
                words = file.read(65536).split()
            if len(words) > 1 and not words[0].startswith("-"):
                return [base64.b64decode(words[1])]
        except (OSError, ValueError, binascii.Error):
            continue
    return []


def _load_key(path: str, passphrase: str) -> PKey | str | None:
    """Return the private key, why it cannot be used, or ``None`` if it is not there."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = os.stat(path)
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
            return f'Load key "{path}": bad permissions'
        return _open_key(path, passphrase)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f'Load key "{path}": {error.strerror}'
    except (SSHException, ValueError, TypeError, UnsupportedAlgorithm) as error:
        # TypeError is how cryptography says that a passphrase is missing.
        return f'Load key "{path}": {error}'


def _open_key(path: str, passphrase: str) -> PKey:
    try:
        return PKey.from_path(path)
    except (TypeError, SSHException):
        if not passphrase:
            raise
    # By place: it was "passphrase" before paramiko 5, and cryptography wants bytes.
    secret: Any = passphrase.encode("utf-8", "surrogateescape")
    return PKey.from_path(path, secret)
