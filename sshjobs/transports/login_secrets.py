"""The password and the passphrase of a login, asked of the command that has them.

Nothing here keeps one: the settings say which command prints it (``pass``, a vault, a
keyring) or which variable has it, and whoever logs in asks at that moment. No secret
stands in a setting, an argument or a record.
"""

from __future__ import annotations

import os

from ..errors import SpecError
from ..model import printable
from ..settings import Settings
from ..startup.records import Record

#: How long such a command may take; the gate is held meanwhile, and others would take a
#: leader for stopped after 15 s.
_SECONDS = 10.0

_NAMES = ("password_command", "passphrase_command", "askpass_env")


class LoginSecrets(Record):
    """What may be answered to a question for a password, and for a passphrase."""

    password: str = ""
    passphrase: str = ""

    def __repr__(self) -> str:
        known = [name for name, value in self._asdict().items() if value]
        return f"<LoginSecrets {' '.join(known)}>"


def has_login_secrets(settings: Settings) -> bool:
    """Tell whether the settings say where a password or a passphrase is."""
    return any(getattr(settings, name) for name in _NAMES)


def read_login_secrets(settings: Settings) -> LoginSecrets:
    """Return the secrets of a login, asked for now.

    Raises:
        SpecError: a command failed or printed nothing, or the variable is not set.
    """
    named = settings.askpass_env
    if named and not os.environ.get(named):
        raise SpecError(f"askpass_env: the environment has no variable {named}")
    both = os.environ[named] if named else ""
    return LoginSecrets(
        _ask_command("password_command", settings.password_command) or both,
        _ask_command("passphrase_command", settings.passphrase_command) or both,
    )


def _ask_command(name: str, command: str) -> str:
    """Return the first line that a command prints, as git takes it of a helper."""
    if not command:
        return ""
    import subprocess

    try:
        said = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SpecError(f"{name}: no answer within {_SECONDS:g} s: {command}") from None
    line = said.stdout.decode("utf-8", "surrogateescape").partition("\n")[0]
    if said.returncode or not line:
        words = printable(said.stderr.decode("utf-8", "replace").strip())
        how = f"ended with {said.returncode}" if said.returncode else "printed nothing"
        raise SpecError(
            f"{name} {how}: {words or 'it said nothing'}. It is:\n{command}"
        )
    return line.rstrip("\r")


def digest_login_secrets(settings: Settings) -> str:
    """Return four digits that tell two secrets of a login apart, and reveal neither.

    A refusal is remembered for the secrets that were refused. Sixteen bits of a slow
    hash say too little of a password to find it by them, and enough to see that it was
    changed.
    """
    if not has_login_secrets(settings):
        return ""
    import hashlib

    text = "\0".join(read_login_secrets(settings)).encode("utf-8", "surrogateescape")
    # 16 MiB, some 50 ms: asked for only where a login was refused.
    return hashlib.scrypt(text, salt=b"sshjobs", n=1 << 14, r=8, p=1).hex()[:4]
