"""Judges a host key as ssh would, for connections that ssh does not make.

Source: sshd(8) SSH_KNOWN_HOSTS FILE FORMAT, ssh_config(5) StrictHostKeyChecking.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import sys
from collections.abc import Iterable, Sequence
from fnmatch import translate
from typing import NamedTuple


class Refused(Exception):
    """The key is not to be trusted; the text is in ssh's words."""


class Known(NamedTuple):
    """A key that a line of known_hosts gives a name to."""

    marker: str  # "", "@revoked" or "@cert-authority"
    kind: str
    blob: bytes


def names_of(hostname: str, port: int, alias: str) -> list[str]:
    """Return the names to look for: the host's own, then those that may stand for it.

    A port of its own is a host of its own; a key that is known for the bare name is
    good for it too (sshconnect.c check_host_key, 9.2).
    """
    if alias:
        return [alias]
    return [hostname] if port == 22 else [f"[{hostname}]:{port}", hostname]


def list_known_keys(paths: Iterable[str], name: str) -> list[Known]:
    """Return every key that the files have for a name; a missing file has none."""
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        found += [
            entry for entry in (_read_entry(line, name) for line in lines) if entry
        ]
    return found


def _read_entry(line: str, name: str) -> Known | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if (
        len(words) < 3
        or line.lstrip().startswith("#")
        or not _matches_name(words[0], name)
    ):
        return None
    try:
        return Known(marker, words[1], base64.b64decode(words[2]))
    except binascii.Error:
        return None


def _matches_name(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        try:
            salt, digest = map(base64.b64decode, patterns.split("|")[2:4])
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(_hash_name(salt, name), digest)
    hit = False
    for pattern in patterns.lower().split(","):
        # Only * and ? are special here; fnmatch knows brackets too.
        plain = pattern.lstrip("!").replace("[", "[[]")
        if re.match(translate(plain), name):
            if pattern.startswith("!"):
                return False
            hit = True
    return hit


def _hash_name(salt: bytes, name: str) -> bytes:
    return hmac.new(salt, name.encode(), hashlib.sha1).digest()


class Checks(NamedTuple):
    """How the keys of one host are judged.

    ``strict`` is StrictHostKeyChecking: yes, accept-new, ask or no. A new key is
    written to the first of ``files``, its name ``hashed`` if HashKnownHosts says so.
    """

    names: Sequence[str]
    files: Sequence[str]
    strict: str = "ask"
    hashed: bool = False

    def list_kinds(self) -> list[str]:
        """Return the kinds of key that are known, so that the host is asked for one."""
        found = list_known_keys(self.files, self.names[0])
        return [entry.kind for entry in found if not entry.marker]

    def judge_key(self, kind: str, blob: bytes) -> None:
        """Return if the host's key is good.

        Raises:
            Refused: it is another than the known one, revoked, or not known.
        """
        name = self.names[0]
        entries = list_known_keys(self.files, name)
        if Known("@revoked", kind, blob) in entries:
            raise Refused(
                f"REVOKED HOST KEY DETECTED: the {_shorten_kind(kind)} host key for "
                f"{name} is marked as revoked"
            )
        others = [list_known_keys(self.files, other) for other in self.names[1:]]
        if any(Known("", kind, blob) in some for some in (entries, *others)):
            return
        if self.strict in ("no", "off"):
            changed = any(entry.kind == kind for entry in entries)
            return None if changed else self._learn_key(kind, blob)
        if any(not entry.marker and entry.kind == kind for entry in entries):
            raise Refused(
                "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\n"
                "Host key verification failed."
            )
        if self.strict != "accept-new" or any(not entry.marker for entry in entries):
            raise Refused(
                f"No {_shorten_kind(kind)} host key is known for {name} and you have "
                "requested strict checking.\nHost key verification failed."
            )
        self._learn_key(kind, blob)

    def _learn_key(self, kind: str, blob: bytes) -> None:
        """Write a new key down; the login goes on if that cannot be done, as in ssh."""
        name = self.names[0]
        if self.hashed:
            salt = os.urandom(20)
            name = "|1|" + "|".join(map(_encode_base64, (salt, _hash_name(salt, name))))
        path = self.files[0] if self.files else os.devnull
        try:
            os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
            with open(path, "a", encoding="ascii") as file:
                file.write(f"{name} {kind} {_encode_base64(blob)}\n")
        except OSError as error:
            print(f"cannot write {path}: {error.strerror}", file=sys.stderr)


def _encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _shorten_kind(kind: str) -> str:
    """Return a kind of key as ssh says it: ED25519, ECDSA, RSA."""
    return kind.split("-")[1].upper() if "-" in kind else kind
