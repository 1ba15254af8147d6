"""The program that a host runs for a request, for the stdin of ``exec sh``.

Theory of operation: each program is one compound of sh, so that a shell that has
read a part of it runs nothing. It consists of a guard, of those functions of
``remote/`` that the request needs, and of calls of them; all data are quoted words.
Nothing here does I/O, apart from one cached look at ``remote/``.
"""

from __future__ import annotations

import os
import zlib

from ..model import LIMIT
from ..quoting import (
    FS_CODEC,
    TEXT_BYTES,
    WORD_BYTES,
    build_printf_format,
    escape_word,
    quote,
)
from ..startup.records import TYPE_CHECKING
from .request import PROTOCOL_VERSION, LogWant, Request, Start, list_questions, name_log

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A watch ends after so many beats of two seconds, and is made anew if still wanted.
WATCH_BEATS = 150

#: What is said to a program that waits behind its fence.
GO = b"go\n"


#: Stands before the program, and is all that is read where no sh reads it from a pipe:
#: csh knows ``$?NAME``, zsh would fail here and there, and behind a terminal the end of
#: the program never comes. fish reads none of it.
GUARD = b"""[ "$?shell" = 1 ] && printf 'sshjobs-not-%s\\n' tcsh && exit 1
[ "${ZSH_VERSION-}" ] && [ "$(emulate)" = zsh ] &&
printf 'sshjobs-not-%s\\n' zsh && exit 1
[ -t 0 ] && printf 'sshjobs-not-%s\\n' terminal && exit 1
"""
_REMOTE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "remote")

#: The files of ``remote/`` by what they are sent for, in the order in which they stand.
PARTS = {
    "round": ("shell.sh", "base.sh", "tools.sh", "directory.sh"),
    "known": ("known.sh",),
    "judge": ("judge.awk", "lost.sh", "judge.sh"),
    "queues": (
        "launch/judge.awk",
        "lost.sh",
        "judge.sh",
        "launch/before.sh",
        "launch/queue.sh",
    ),
    "slurm": ("launch/slurm.awk", "launch/slurm.sh"),
    "sge": ("launch/sge.awk", "launch/sge.sh"),
    "systemd": ("launch/systemd.sh",),
    "limit": ("launch/limit.sh",),
    "pass": (
        "shell.sh",
        "groups.sh",
        "limit/turn.sh",
        "limit/choose.awk",
        "limit/pass.sh",
    ),
    "pbs": ("launch/pbs.awk", "launch/pbs.sh"),
    "lsf": ("launch/lsf.sh",),
    "runs": ("groups.sh", "detach.sh", "launch/process.sh", "start.sh"),
    "kill": ("kill.sh",),
    "keys": ("keys.sh",),
    "reap": ("reap.awk", "reap.sh"),
    "logs": ("logs.awk", "logs.sh"),
    "list": ("list.awk", "list.sh"),
    "doctor": ("doctor.sh",),
    "fetch": ("logs.sh",),
    "sweep": ("records.awk", "expired.awk", "sweep.sh"),
    "frame": ("frame.sh",),
    "watch": ("watch.sh",),
    "files": ("files.sh",),
    "batch": (
        "runner/bashrc.sh",
        "shell.sh",
        "base.sh",
        "tools.sh",
        "groups.sh",
        "runner/head.sh",
        "runner/record.sh",
        "runner/job.sh",
        "runner/child.sh",
        "runner/end.sh",
        "runner/tree.awk",
        "runner/tree.sh",
        "launch/slurm_node.sh",
        "launch/sge_node.sh",
        "launch/systemd_node.sh",
        "launch/pbs_node.sh",
        "launch/lsf_node.sh",
        "launch/before_node.awk",
        "launch/batch.sh",
    ),
    "runner": (
        "runner/bashrc.sh",
        "shell.sh",
        "groups.sh",
        "runner/head.sh",
        "runner/record.sh",
        "runner/job.sh",
        "runner/child.sh",
        "runner/end.sh",
        "runner/tree.awk",
        "runner/tree.sh",
        "runner/main.sh",
    ),
}

#: Those that sh is to pass on to another program are sent as one quoted word each, and
#: consist of these files.
_JUDGE = ("fields.awk", "processes.awk", "judge.awk")
_BEFORE = ("records.awk", "fields.awk", "limit/before.awk")
_ALONE = "records.awk expired.awk launch/slurm.awk launch/sge.awk "
_ALONE += "launch/pbs.awk lost.sh reap.awk logs.awk list.awk"
QUOTED_PARTS = {
    **{name: (name,) for name in _ALONE.split()},
    "judge.awk": (*_JUDGE, "launch/none.awk", "check.awk"),
    "launch/judge.awk": (
        *_JUDGE,
        "launch/queue.awk",
        "limit/before.awk",
        "check.awk",
        "launch/after.awk",
    ),
    "limit/choose.awk": (*_BEFORE, "limit/choose.awk"),
    "launch/before_node.awk": (*_BEFORE, "launch/before_node.awk"),
    "runner/tree.awk": ("records.awk", "processes.awk", "runner/tree.awk"),
}

#: Before a file is made; and what jobs get back, where there are any.
_UMASK, _KEEP = b"umask 077\n", b"sj_read_umask\nsj_save_env\n"

#: The first byte of a line of comment.
_HASH = ord("#")

#: So few jobs at most are prepared while their runner starts, see sj_start_few.
_FEW = 8

#: More than so many are a burst, whose runners save what they can. So many of its jobs
#: are prepared before the first runner starts, and then twice as many each time, up to
#: that: the first run while the last are prepared. Another launcher is told of as many
#: as can be each time.
_BURST, _FIRST, _AT_A_TIME = 32, 16, 100


def build(request: Request, nonce: str) -> bytes:
    """Return the program that serves ``request``, for the stdin of ``exec sh``.

    It is one compound command: a shell that reads only a part of it runs nothing.

    Args:
        request: All that is wanted.
        nonce: 16 or more hex digits that were never used before.
    """
    if request.examine:
        return _build_examination(request, nonce)
    runner, runner_hash = _render_runner()
    generation, offset = request.journal or ("-", 0)
    place = (nonce, request.base_dir, generation, offset)
    spans = (request.start_grace, int(request.key_ttl), int(request.gone_ttl))
    questions, few = list_questions(request)
    opening = _build_call("sj_open_round", *place, *spans, runner_hash, *few)
    queues = request.launchers
    asks = any(questions)
    runs = bool(request.kills or request.starts or (queues and asks))
    kills = request.kills
    guard = _build_call("sj_guard_round", nonce, request.base_dir, *kills) + b"\n"
    prologue = guard + (_KEEP if runs else b"") + _UMASK
    groups = _choose_groups(request, runs=runs, asks=asks)
    functions = _join_parts(*groups, *_name_launcher_parts(queues))
    parts = [GUARD + b"{", functions + prologue, opening]
    if runs:
        parts += [b"sj_runner=" + quote(runner), b"sj_prepare_runs"]
    if queues:
        from .launched import build_launcher_settings

        parts += build_launcher_settings(request, _join_parts)
    if kills:
        parts.append(_build_call("sj_kill_jobs", *kills))
    parts += _build_starts(request.starts)
    if request.ends:
        parts.append(_build_call("sj_await_ends", *request.ends))
    parts.append(_build_call("sj_answer_checks", *questions))
    parts += _build_last_calls(request)
    return b"\n".join([*parts, b"sj_close_round", b"}", b"exit 0", b""])


def _choose_groups(request: Request, *, runs: bool, asks: bool) -> list[str]:
    """Return the groups of :data:`PARTS` that a request needs, but for launchers."""
    judges = runs or asks or request.listing
    wanted = {
        "round": True,
        "known": judges,
        "judge": judges and not request.launchers,
        "queues": request.launchers,
        "runs": runs,
        "kill": request.kills,
        "keys": any(start.key for start in request.starts),
        "reap": request.reaps,
        "logs": request.logs,
        "list": request.listing,
        "sweep": True,
        "frame": True,
    }
    return [name for name, is_on in wanted.items() if is_on]


def _name_launcher_parts(names: tuple[str, ...]) -> list[str]:
    if not names:
        return []
    from ..launchers import find_launcher

    return [part for name in names for part in find_launcher(name).parts]


def _build_last_calls(request: Request) -> list[bytes]:
    """Return the calls of what is served once it is known how jobs do."""
    parts = []
    if request.listing:
        parts.append(b"sj_list_jobs")
    if request.reaps:
        reaps = (
            f"{name_log(reap.job_id, reap.stream)}:{reap.home}:{reap.cksum}"
            f":{reap.sha256}"
            for reap in request.reaps
        )
        parts.append(_build_call("sj_reap_jobs", *reaps))
    if request.logs:
        wants = (word for want in request.logs for word in _name_piece(want))
        parts.append(_build_call("sj_send_logs", *wants))
    return parts


def _name_piece(want: LogWant) -> tuple[object, ...]:
    return name_log(want.job_id, want.stream), want.offset, want.limit


def build_watch(base_dir: str, journal: tuple[str, int], nonce: str) -> bytes:
    """Return the program that says at once when something ends on the host.

    Its reply is for :class:`WatchReply`.

    Args:
        journal: Up to where rounds have read it, as (generation, offset).
    """
    _, runner_hash = _render_runner()
    functions = _join_parts("round", "frame")
    opening = _build_call(
        "sj_open_round", nonce, base_dir, *journal, 0, 0, 0, runner_hash
    )
    life = b"sj_life=%d" % WATCH_BEATS
    return _build_listening(functions, opening, life, _join_parts("watch"))


def build_fetch(base_dir: str, want: LogWant, nonce: str) -> tuple[bytes, bytes]:
    """Return the program that brings bytes of one log, and the fence it says first.

    After the fence it waits for :data:`GO`; then come bytes of that log, from the
    offset on, in order, and nothing else. They are fewer than ``limit`` if the log
    holds no more. The program does not end the fence if there is no such log.
    """
    functions = _join_parts("round", "fetch")
    call = _build_call("sj_fetch_log", nonce, base_dir, *_name_piece(want))
    fence = f"\nsshjobs-log {PROTOCOL_VERSION} {nonce}\n"
    return _build_listening(functions, call), fence.encode("ascii")


def _build_examination(request: Request, nonce: str) -> bytes:
    """Return the program that says what the host is and has, and writes nothing there.

    A base directory that cannot be entered does not keep it from answering.
    """
    parts = _name_launcher_parts(request.launchers)
    functions = _join_parts("round", "frame", "doctor", *parts)
    guard = _build_call("sj_guard_round", nonce, request.base_dir)
    names = request.launchers and [" ".join(request.launchers)]
    call = _build_call("sj_examine_host", nonce, request.base_dir, *names)
    lines = [GUARD + b"{", functions + guard, call, b"}", b"exit 0", b""]
    return b"\n".join(lines)


def _build_listening(functions: bytes, *parts: bytes) -> bytes:
    """Return a program that reads on from its standard input.

    bash leaves there the text it has not parsed yet (5.2); dash may have read it.
    """
    lines = [GUARD + b"{", functions + _UMASK, *parts, b"exit 0", b"}", b""]
    return b"\n".join(lines)


def _build_call(function: str, *words: object) -> bytes:
    """Return a call of a function of ``remote/``; plain words stay readable."""
    encoded = (str(word).encode(*FS_CODEC) for word in words)
    return b" ".join([function.encode("ascii"), *map(quote, encoded)])


def _build_starts(starts: tuple[Start, ...]) -> list[bytes]:
    if not starts:
        return []
    if len(starts) <= _FEW and not any(one.key or one.spec.launcher for one in starts):
        ids = [start.job_id for start in starts]
        parts = [b"sj_prepare_few() {", _build_call("sj_make_dirs", *ids)]
        parts += [*map(_build_job, starts), b"}", _build_call("sj_start_few", *ids)]
        parts[-1] += b" || { sj_prepare_few; sj_start_jobs; }"
        return [*parts, b"sj_await_claims $sj_due"]
    parts = [b"sj_many=1"] if len(starts) > _BURST else []
    for some in _split_starts(starts):
        parts.append(_build_call("sj_make_dirs", *(start.job_id for start in some)))
        parts += [*map(_build_job, some), b"sj_start_jobs"]
    return [*parts, b"sj_await_claims $sj_due"]


def _split_starts(starts: tuple[Start, ...]) -> Iterator[tuple[Start, ...]]:
    is_burst = len(starts) > _BURST and not any(one.spec.launcher for one in starts)
    at, count = 0, _FIRST if is_burst else _AT_A_TIME
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


def _render_runner() -> tuple[bytes, str]:
    """Return the runner file of this version, and the hash that is in its name."""
    text = _join_parts("runner")
    return text, f"{zlib.crc32(text):08x}"


#: The files that were read already, and the groups that were joined, as they are sent.
_read_parts: dict[str, bytes] = {}
_joined_groups: dict[tuple[str, ...], bytes] = {}


def _join_parts(*groups: str) -> bytes:
    """Return the files of these groups as they are sent, in order.

    That is as they are, or as ``sj_NAME_awk='...'``.
    """
    if groups not in _joined_groups:
        parts = []
        for name in (name for one in groups for name in PARTS[one]):
            if name in QUOTED_PARTS:
                variable = os.path.basename(name).replace(".", "_").encode("ascii")
                text = b"".join(map(read_part, QUOTED_PARTS[name]))
                parts.append(b"sj_%s=%s\n" % (variable, quote(b"\n" + text)))
            else:
                parts.append(read_part(name))
        _joined_groups[groups] = b"".join(parts)
    return _joined_groups[groups]


def read_part(name: str) -> bytes:
    if name not in _read_parts:
        with open(f"{_REMOTE}/{name}", "rb", buffering=0) as file:
            _read_parts[name] = strip_comments(file.readall())
    return _read_parts[name]


def strip_comments(text: bytes) -> bytes:
    """Return a shell script without lines of comment, indentation and empty lines.

    Strings are not known: none in ``remote/`` may depend on a line like these. To
    look at each of its tokens cost every round 2.5 ms.
    """
    lines = map(bytes.lstrip, text.split(b"\n"))
    return b"\n".join([line for line in lines if line and line[0] != _HASH]) + b"\n"
