"""Settings of launchers in a request; imported where a job has a launcher."""

from __future__ import annotations

import zlib

from ..launchers.before import build_lines
from ..launchers.limit import build_line
from ..model import LIMIT, Spec
from ..quoting import quote
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .request import Request


def build_launcher_settings(
    request: Request, join_parts: Callable[[str], bytes]
) -> list[bytes]:
    """Return the assignments that the parts of launchers read, and their programs.

    Args:
        join_parts: Returns the text of a group of :data:`.program.PARTS`.
    """
    names = quote(" ".join(request.launchers).encode("ascii"))
    settings = [
        b"sj_launchers=" + names,
        b"sj_queue_age=%d" % request.queue_age,
        b"sj_vanish=%d" % request.vanish_grace,
    ]
    # Programs that run on after the round are files on the host, as the runner is.
    programs = ["batch"] if request.launchers != (LIMIT,) else []
    if LIMIT in request.launchers:
        settings.append(b"sj_limits=" + quote(request.limits.encode("ascii")))
        programs.append("pass")
    for name in programs:
        text, variable = join_parts(name), name.encode("ascii")
        settings.append(b"sj_%s_hash=%08x" % (variable, zlib.crc32(text)))
        settings.append(b"sj_%s=%s" % (variable, quote(text)))
    return settings


def build_handle(spec: Spec) -> bytes:
    """Return the file that names the launcher of a job, and what it waits for."""
    name = spec.launcher.encode("ascii")
    if spec.launcher == LIMIT:
        return name + b"\n" + build_line(spec)
    return name + build_lines(spec)
