"""Asks a host about files, in a session of its own, before a copy begins."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Sequence

from ..errors import CommandTimeout, ConnectionLost, CopyFailed
from ..protocol import files
from ..protocol.files import FilesAnswer
from .context import Context
from .ride import ride_along


def ask_about_files(
    ctx: Context,
    host: str,
    build: Callable[[str], bytes],
    patterns: Sequence[bytes] = (),
) -> FilesAnswer:
    """Ask a host, and return its checked answer.

    Args:
        build: Makes the program of a nonce.
        patterns: Those that the answer may have files of.

    Raises:
        CommandTimeout: the host said nothing for ``command_timeout``.
        ProtocolError: it is no answer to that.
        CopyFailed: the answer is too long.
    """
    nonce = os.urandom(16).hex()
    silence = ctx.settings(host).command_timeout
    answer = b""

    def run(argv: list[str]) -> int:
        nonlocal answer
        with tempfile.TemporaryFile() as question:
            question.write(build(nonce))
            question.seek(0)
            child = subprocess.Popen(
                argv,
                stdin=question,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        try:
            answer = _read_answer(host, child, silence)
            return child.wait(silence)
        except subprocess.TimeoutExpired as error:
            raise CommandTimeout(
                host, "the host does not end its list of files"
            ) from error
        finally:
            child.kill()
            child.wait()

    status = ride_along(ctx, host, [], ["exec", "sh"], run)
    if status == 255 and not answer:
        raise ConnectionLost(host, "the connection ended as its files were listed")
    return files.read_files_answer(host, answer, nonce, patterns)


def _read_answer(host: str, child: subprocess.Popen[bytes], silence: float) -> bytes:
    """Read an answer to its end, within bounds of size and silence."""
    assert child.stdout is not None
    data = bytearray()
    with child.stdout as pipe:
        while select.select([pipe], [], [], silence)[0]:
            piece = os.read(pipe.fileno(), 65536)
            data += piece
            if not piece:
                return bytes(data)
            if len(data) > files.MAX_ANSWER:
                raise CopyFailed(host, "more files are meant than one copy takes")
    raise CommandTimeout(
        host, f"the host said nothing for {silence:g} s about its files"
    )
