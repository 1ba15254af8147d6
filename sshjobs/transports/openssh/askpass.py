"""Answers ssh's question for a password or a passphrase, once, for one login.

Theory of operation: ssh asks by running the program that SSH_ASKPASS names, with its
question as argument, and reads the answer from the program's output;
SSH_ASKPASS_REQUIRE=force makes it do so without a terminal (OpenSSH 8.4). Our program
is a few lines of sh in a directory of ours (0700) beside files with the secrets (0600),
all of which exist for one handshake. It answers the ssh that makes this connection, and
no other that inherits the variable (a ProxyCommand's, a jump host's); a passphrase only
to ssh's own question for one, which no host can put; each secret once, since it takes
the file away first. To any other question, a host key's above all, it says no.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import SpecError
from ...locks import translate_os_errors
from ...quoting import quote_text
from ...settings import Settings
from ..identity.identity import Identity
from ..login_secrets import LoginSecrets, has_login_secrets, read_login_secrets

#: The questions of ssh (9.2, sshconnect2.c): "USER@HOST's password: " is its own, and
#: "(USER@HOST) " stands before each that a host puts (keyboard-interactive, since 8.5).
_PROGRAM = """#!/bin/sh
log={log}
asker=$(tr '\\0' ' ' <"/proc/$PPID/cmdline" 2>/dev/null || ps -o args= -p "$PPID")
case $asker in
*ControlMaster=yes*"$log"*|*"$log"*ControlMaster=yes*) ;;
*) exit 1 ;;
esac
case $1 in
"Enter passphrase for key '"*) name=passphrase ;;
*"@"*"'s password: "|"("*"@"*") "*[Pp]assword*) name=password ;;
*) exit 1 ;;
esac
cd {folder} && mv "$name" "$name.taken" 2>/dev/null || exit 1
cat "$name.taken"
rm -f "$name.taken"
"""

_SINCE = (8, 4)


class Asking:
    """How one ssh is to ask: variables of its environment, and options."""

    def __init__(self, env: dict[str, str], options: dict[str, str]) -> None:
        self.env = env
        self.options = tuple(options.items())


#: ssh asks nobody.
NOT_ASKING = Asking({}, {})


@contextmanager
def lend_login_secrets(
    identity: Identity, settings: Settings, log: str, *, interactive: bool
) -> Iterator[Asking]:
    """Have the ssh of one handshake find the secrets that the settings lead to.

    After return, nothing of them is on the disk.

    Args:
        log: The log of the handshake, an argument of its ssh by which it is known.

    Raises:
        SpecError: a secret cannot be had, or this ssh is too old to ask for it.
    """
    if interactive or not has_login_secrets(settings):
        yield NOT_ASKING
        return
    if identity.version < _SINCE:
        have = ".".join(map(str, identity.version))
        raise SpecError(
            f"{identity.host}: this ssh ({have}) asks no program for a password "
            "without a terminal; OpenSSH 8.4 and newer do. Log in with:\n"
            f"sshjobs connect {identity.host}"
        )
    secrets = read_login_secrets(settings)
    folder = f"{log}.ask"
    with translate_os_errors(folder):
        # The name is that of the log, which the holder of the gate has to itself.
        _remove(folder)  # of a handshake that was killed
        os.mkdir(folder, 0o700)
    try:
        with translate_os_errors(folder):
            program = os.path.join(folder, "ask")
            text = _PROGRAM.format(log=quote_text(log), folder=quote_text(folder))
            _write_secret_file(program, text, 0o700)
            for name, value in secrets._asdict().items():
                if value:
                    _write_secret_file(os.path.join(folder, name), f"{value}\n", 0o600)
        env = {"SSH_ASKPASS": program, "SSH_ASKPASS_REQUIRE": "force"}
        yield Asking(env, _list_options(identity, secrets))
    finally:
        _remove(folder)


def _list_options(identity: Identity, secrets: LoginSecrets) -> dict[str, str]:
    """Return options with which ssh asks for what there is, and for nothing else.

    Before 8.5 a question that the host puts looks like one of ssh's own: with a
    passphrase at hand, the host puts none.
    """
    host_asks = bool(secrets.password) and (
        identity.version >= (8, 5) or not secrets.passphrase
    )
    return {
        "BatchMode": "no",
        # A second question would get no answer, and sshd would count one more failure
        # (MaxAuthTries; PerSourcePenalties authfail, OpenSSH 9.8).
        "NumberOfPasswordPrompts": "1",
        "PasswordAuthentication": "yes" if secrets.password else "no",
        "KbdInteractiveAuthentication": "yes" if host_asks else "no",
    }


def _write_secret_file(path: str, text: str, mode: int) -> None:
    # O_EXCL with O_CREAT follows no link in the last place either (open(2)); O_NOFOLLOW
    # says it once more to a reader.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    with os.fdopen(descriptor, "w", errors="surrogateescape") as file:
        file.write(text)


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
