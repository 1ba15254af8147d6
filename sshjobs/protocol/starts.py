"""The part of a program that starts jobs; imported where one is to be started."""

from __future__ import annotations

from ..model import LIMIT
from ..quoting import (
    FS_CODEC,
    TEXT_BYTES,
    WORD_BYTES,
    build_call,
    build_printf_format,
    escape_word,
    quote,
)
from ..startup.records import TYPE_CHECKING
from .request import BURST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .request import Start

#: So few jobs at most are prepared while their runner starts, see sj_start_few.
_FEW = 8

#: So many jobs of a burst are prepared before the first runner starts, and then twice
#: as many each time, up to that: the first run while the last are prepared. Another
#: launcher is told of as many as can be each time.
_FIRST, _AT_A_TIME = 16, 100

#: Seconds that jobs wait on after the round that started them, while that is recorded.
_KEPT = 0.3


def build_starts(starts: tuple[Start, ...]) -> list[bytes]:
    """Return the calls that prepare jobs and start them."""
    if len(starts) <= _FEW and not any(one.key or one.spec.launcher for one in starts):
        ids = [start.job_id for start in starts]
        parts = [b"sj_prepare_few() {", build_call("sj_make_dirs", *ids)]
        parts += [*map(_build_job, starts), b"}", build_call("sj_start_few", *ids)]
        parts[-1] += b" || { sj_prepare_few; sj_start_jobs; }"
        return [*parts, b"sj_await_claims $sj_due"]
    parts = [b"sj_many=1"] if len(starts) > BURST else []
    for some in _split_starts(starts):
        parts.append(build_call("sj_make_dirs", *(start.job_id for start in some)))
        parts += [*map(_build_job, some), b"sj_start_jobs"]
    parts.append(b"sj_await_claims $sj_due")
    if is_burst(starts):
        end = [b"sj_keep_barrier %.2f" % _KEPT, b'} 3<>"$sj_barrier"']
        parts = [b"sj_make_barrier", b"{", *parts, *end]
    return parts


def is_burst(starts: tuple[Start, ...]) -> bool:
    """Tell whether so many jobs start that their runners spare processes."""
    return len(starts) > BURST and not any(one.spec.launcher for one in starts)


def _split_starts(starts: tuple[Start, ...]) -> Iterator[tuple[Start, ...]]:
    at, count = 0, _FIRST if is_burst(starts) else _AT_A_TIME
    while at < len(starts):
        yield starts[at : at + count]
        at, count = at + count, min(2 * count, _AT_A_TIME)


def _build_job(start: Start) -> bytes:
    spec = start.spec
    # The text of the file that the job's shell runs, or sh if it is a vector.
    if isinstance(spec.command, bytes):
        script, shell = spec.command, spec.shell.encode(*FS_CODEC)
    else:
        script, shell = b"exec " + b" ".join(map(quote, spec.command)), b""
    words: tuple[bytes, ...] = (
        start.job_id.encode("ascii"),
        _build_spec_file(start),
        script,
        _build_env_file(spec.env),
        b"" if spec.stdin is None else build_printf_format(spec.stdin),
        key_hash(start.key).encode("ascii") if start.key else b"",
        _digest_of_keyed(start),
        b"1" if start.once else b"",
        shell,
    )
    if spec.launcher:
        from .launched import build_handle

        words += (build_handle(spec),)
    return b" ".join([b"sj_prepare_job", *map(quote, words)])


def _digest_of_keyed(start: Start) -> bytes:
    """Return the digest of a command that a key may be asked about, else ``-``."""
    return start.spec.digest().encode("ascii") if start.key else b"-"


def key_hash(key: str) -> str:
    """Return the name of a key's directory on a host: 64 hex digits."""
    import hashlib

    return hashlib.sha256(key.encode(*FS_CODEC)).hexdigest()


def _build_spec_file(start: Start) -> bytes:
    """Return the assignments that a runner reads.

    What a listing reads with awk comes first and holds no newline: the first line
    of a name counts there, so that nothing in a later value can pose as one.
    """
    spec = start.spec
    cwd = spec.cwd.encode(*FS_CODEC)
    # A whole number is taken by every sleep(1), a fraction by most.
    timeout = "" if spec.timeout is None else f"{spec.timeout:.3f}".rstrip("0")
    pairs: tuple[tuple[str, bytes], ...] = (
        ("digest", _digest_of_keyed(start)),
        ("name", escape_word(WORD_BYTES, start.name)),
        ("keyword", escape_word(WORD_BYTES, start.key)),
        ("sha", key_hash(start.key).encode("ascii") if start.key else b""),
        ("kind", b"line" if isinstance(spec.command, bytes) else b"vector"),
        ("grace", b"%.2f" % spec.kill_grace),
        ("gracecs", b"%d" % round(spec.kill_grace * 100)),
        ("timeout", timeout.rstrip(".").encode("ascii")),
        ("useshell", spec.shell.encode(*FS_CODEC)),
        ("hasenv", b"1" if spec.env else b""),
        ("unbuffered", b"1" if spec.unbuffered else b""),
        ("hasin", b"" if spec.stdin is None else b"1"),
        ("cwdtext", escape_word(TEXT_BYTES, spec.cwd)[:160]),
        ("cwd", cwd),
        ("key", start.key.encode(*FS_CODEC)),
    )
    if spec.split:
        pairs += (("split", b"1"),)
    if spec.launcher not in ("", LIMIT):  # whose jobs are processes, once it is time
        from ..launchers import find_launcher

        options = find_launcher(spec.launcher).build_options(spec)
        pairs += (
            ("launcher", spec.launcher.encode("ascii")),
            ("launchargs", b" ".join(map(quote, options))),
        )
    return b"\n".join(b"sj_%s=%s" % (n.encode("ascii"), quote(v)) for n, v in pairs)


def _build_env_file(env: tuple[tuple[str, bytes], ...]) -> bytes:
    """Return a function that exports ``env``, empty if there is nothing to export.

    ``command`` keeps a name that a shell holds read-only (UID in bash) from ending
    it, as an error in a special builtin otherwise does (POSIX 2.8.1).
    """
    if not env:
        return b""
    lines = (b"command export %s=%s" % (n.encode("ascii"), quote(v)) for n, v in env)
    names = quote(b" ".join(n.encode("ascii") for n, _ in env))
    return b"sj_env() {\n" + b"\n".join(lines) + b"\n}\nsj_envnames=" + names
