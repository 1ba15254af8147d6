"""The program that a host runs for a request, for the stdin of ``exec sh``.

Theory of operation: each program is one compound of sh, so that a shell that has
read a part of it runs nothing. It consists of a guard, of those functions of
``remote/`` that the request needs, and of calls of them; all data are quoted words.
Nothing here does I/O, apart from one cached look at ``remote/``.
"""

from __future__ import annotations

import os
import zlib

from ..quoting import build_call, quote
from .request import (
    BURST,
    PROTOCOL_VERSION,
    LogWant,
    Request,
    list_questions,
    name_log,
)

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
    "burst": ("barrier.sh",),
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
    opening = build_call("sj_open_round", *place, *spans, runner_hash, *few)
    queues = request.launchers
    asks = any(questions)
    runs = bool(request.kills or request.starts or (queues and asks))
    kills = request.kills
    guard = build_call("sj_guard_round", nonce, request.base_dir, *kills) + b"\n"
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
        parts.append(build_call("sj_kill_jobs", *kills))
    if request.starts:
        from .starts import build_starts

        parts += build_starts(request.starts)
    if request.ends:
        parts.append(build_call("sj_await_ends", *request.ends))
    parts.append(build_call("sj_answer_checks", *questions))
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
        "burst": len(request.starts) > BURST,
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
        parts.append(build_call("sj_reap_jobs", *reaps))
    if request.logs:
        wants = (word for want in request.logs for word in _name_piece(want))
        parts.append(build_call("sj_send_logs", *wants))
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
    opening = build_call(
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
    call = build_call("sj_fetch_log", nonce, base_dir, *_name_piece(want))
    fence = f"\nsshjobs-log {PROTOCOL_VERSION} {nonce}\n"
    return _build_listening(functions, call), fence.encode("ascii")


def _build_examination(request: Request, nonce: str) -> bytes:
    """Return the program that says what the host is and has, and writes nothing there.

    A base directory that cannot be entered does not keep it from answering.
    """
    parts = _name_launcher_parts(request.launchers)
    functions = _join_parts("round", "frame", "doctor", *parts)
    guard = build_call("sj_guard_round", nonce, request.base_dir)
    names = request.launchers and [" ".join(request.launchers)]
    call = build_call("sj_examine_host", nonce, request.base_dir, *names)
    lines = [GUARD + b"{", functions + guard, call, b"}", b"exit 0", b""]
    return b"\n".join(lines)


def _build_listening(functions: bytes, *parts: bytes) -> bytes:
    """Return a program that reads on from its standard input.

    bash leaves there the text it has not parsed yet (5.2); dash may have read it.
    """
    lines = [GUARD + b"{", functions + _UMASK, *parts, b"exit 0", b"}", b""]
    return b"\n".join(lines)


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
