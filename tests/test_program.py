"""Which parts a program has, which calls it makes, and with which words.

That the calls do on a host what they say is tried there (``tests/remote/``), and that
every shell reads a program in ``test_protocol.py``.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import sshjobs
from sshjobs import protocol
from sshjobs.model import Spec
from sshjobs.protocol import GUARD, Check, LogWant, Reap, Request, Start, program
from sshjobs.protocol.starts import key_hash

NONCE = "00112233445566aa"
ID = "aaaabbbbccccdddd"
OTHER = "eeeeffffgggghhhh"
REMOTE = Path(sshjobs.__file__).parent / "remote"

#: What most calls begin with, and words of the calls that open and close a round.
PLACE = [NONCE, "~/.sshjobs"]
SPANS = ["10.0", "2592000", "86400"]
CLOSING = ["sj_close_round", "}", "exit", "0"]

pytestmark = pytest.mark.quick


def read_stripped(name: str) -> str:
    """Return a part without what is for people."""
    lines = [line.lstrip() for line in (REMOTE / name).read_text("utf-8").split("\n")]
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def render_part(name: str) -> str:
    """Return a part as it stands in a program."""
    if name not in program.QUOTED_PARTS:
        return read_stripped(name)
    text = "".join(map(read_stripped, program.QUOTED_PARTS[name]))
    variable = Path(name).name.replace(".", "_")
    quoted = text.replace("'", "'\\''")
    return f"sj_{variable}='\n{quoted}'\n"


def join_groups(*groups: str) -> str:
    """Return the parts of groups, one after the other."""
    return "".join(
        render_part(name) for group in groups for name in program.PARTS[group]
    )


def split_program(text: bytes, call: str) -> tuple[str, list[str]]:
    """Return the functions of a program and the words from a call on.

    Of the runner, and of the batch script, the checksum is left.
    """
    assert text.startswith(GUARD + b"{\n")
    body = text[len(GUARD) + 2 :].decode("utf-8", "surrogateescape")
    at = body.rindex(f"\n{call} '") + 1
    words = []
    for word in shlex.split(body[at:]):
        name, sign, value = word.partition("=")
        if sign and name in ("sj_runner", "sj_batch"):
            assert value == join_groups(name.removeprefix("sj_"))
            word = f"{name}={checksum(value)}"
        words.append(word)
    return body[:at], words


def checksum(text: str) -> str:
    """Return the word for a version of a file that stays on hosts."""
    return f"{zlib.crc32(text.encode()):08x}"


def find_runner() -> str:
    """Return the word for the runner of this version."""
    return checksum(join_groups("runner"))


def build_words(request: Request) -> list[str]:
    """Return the words of a request's calls."""
    return split_program(protocol.build(request, NONCE), "sj_guard_round")[1]


def split_calls(words: list[str]) -> list[list[str]]:
    """Return words by the call or assignment of ours that they belong to."""
    calls: list[list[str]] = []
    for word in words:
        is_call = re.fullmatch(r"sj_[a-z_]+(=[^\n' ]*)?", word)
        if is_call or word in ("umask", "}", "exit"):
            calls.append([])
        calls[-1].append(word)
    return calls


def test_an_empty_request_opens_answers_and_closes() -> None:
    functions, words = split_program(protocol.build(Request(), NONCE), "sj_guard_round")
    assert functions == join_groups("round", "sweep", "frame")
    assert words == [
        *("sj_guard_round", *PLACE, "umask", "077"),
        *("sj_open_round", *PLACE, "-", "0", *SPANS, find_runner()),
        *("sj_answer_checks", ""),
        *CLOSING,
    ]


def test_a_request_says_where_it_stands_and_how_long_it_waits() -> None:
    request = Request(
        base_dir="~/it's \udcff",
        journal=("7", 9),
        start_grace=2.5,
        key_ttl=3.9,
        gone_ttl=4.9,
    )
    place = [NONCE, "~/it's \udcff"]
    opening = split_calls(build_words(request))[2]
    assert opening == [
        "sj_open_round",
        *place,
        "7",
        "9",
        "2.5",
        "3",
        "4",
        find_runner(),
    ]


def test_a_program_is_a_whole_compound_and_ends_well() -> None:
    text = protocol.build(Request(), NONCE)
    assert text.endswith(b"\nsj_answer_checks ''\nsj_close_round\n}\nexit 0\n")


@pytest.mark.parametrize(
    ("request_", "groups"),
    [
        (Request(listing=True), "round known judge list sweep frame"),
        (Request(checks=(Check(ID, 7, "9"),)), "round known judge sweep frame"),
        (Request(forgets=(Check(ID, 7, "9"),)), "round known judge sweep frame"),
        (Request(kills=(ID,)), "round known judge runs kill sweep frame"),
        (
            Request(starts=(Start(ID, Spec(b"x")),)),
            "round known judge runs sweep frame",
        ),
        (
            Request(starts=(Start(ID, Spec(b"x"), key="k"), Start(OTHER, Spec(b"y")))),
            "round known judge runs keys sweep frame",
        ),
        (Request(reaps=(Reap(ID, 5),)), "round reap sweep frame"),
        (Request(logs=(LogWant(ID, 0, 5),)), "round logs sweep frame"),
        (Request(launchers=("slurm",)), "round queues sweep frame slurm"),
        (
            Request(launchers=("slurm",), checks=(Check(ID, 7, "9"),)),
            "round known queues runs sweep frame slurm",
        ),
        (
            Request(launchers=("slurm",), listing=True),
            "round known queues list sweep frame slurm",
        ),
    ],
)
def test_a_program_has_the_parts_that_its_request_needs(
    request_: Request, groups: str
) -> None:
    functions, _ = split_program(protocol.build(request_, NONCE), "sj_guard_round")
    assert functions == join_groups(*groups.split())


def test_each_question_and_order_is_a_call_in_the_order_of_the_page() -> None:
    request = Request(
        kills=(OTHER,),
        starts=(Start(ID, Spec(b"x"), "k"),),
        checks=(Check(ID, 7, "99"), Check(OTHER, None, "")),
        forgets=(Check(ID, None, "5"),),
        reaps=(Reap(ID, 9), Reap(OTHER, 0, 17, "ab")),
        logs=(LogWant(ID, 5, 100), LogWant(OTHER, 0, 7)),
        listing=True,
        ends=(ID, OTHER),
    )
    calls = split_calls(build_words(request))
    checks = f"c {ID} 7 99\nc {OTHER} - -\nf {ID} - 5"
    assert [call for call in calls if call[0] != "sj_prepare_job"] == [
        ["sj_guard_round", *PLACE, OTHER],
        ["sj_read_umask"],
        ["sj_save_env"],
        ["umask", "077"],
        ["sj_open_round", *PLACE, "-", "0", *SPANS, find_runner(), ID, OTHER],
        [f"sj_runner={find_runner()}"],
        ["sj_prepare_runs"],
        ["sj_kill_jobs", OTHER],
        ["sj_make_dirs", ID],
        ["sj_start_jobs"],
        ["sj_await_claims", "$sj_due"],
        ["sj_await_ends", ID, OTHER],
        ["sj_answer_checks", checks],
        ["sj_list_jobs"],
        ["sj_reap_jobs", f"{ID}:9:-1:-", f"{OTHER}:0:17:ab"],
        ["sj_send_logs", ID, "5", "100", OTHER, "0", "7"],
        ["sj_close_round"],
        ["}"],
        ["exit", "0"],
    ]


@pytest.mark.parametrize(("length", "few"), [(299, [ID]), (300, []), (301, [])])
def test_a_few_jobs_are_named_at_the_opening(length: int, few: list[str]) -> None:
    checks = f"c {ID} 7 ".ljust(length, "s")
    request = Request(checks=(Check(ID, 7, checks.split()[3]),))
    calls = split_calls(build_words(request))
    assert calls[2] == ["sj_open_round", *PLACE, "-", "0", *SPANS, find_runner(), *few]
    assert calls[3] == ["sj_answer_checks", checks]


def test_the_parts_of_a_scheduler_are_told_of_its_queue() -> None:
    request = Request(launchers=("slurm",), queue_age=4.9, vanish_grace=33.3)
    batch = checksum(join_groups("batch"))
    assert split_calls(build_words(request))[3:-4] == [
        ["sj_launchers=slurm"],
        ["sj_queue_age=4"],
        ["sj_vanish=33"],
        [f"sj_batch_hash={batch}"],
        [f"sj_batch={batch}"],
    ]


@pytest.mark.parametrize("count", [1, 8])
def test_a_few_plain_jobs_are_prepared_while_their_runner_starts(count: int) -> None:
    starts = tuple(Start(f"aaaabbbbcccc{n:04}", Spec(b"x")) for n in range(count))
    ids = [start.job_id for start in starts]
    words = build_words(Request(starts=starts))
    first = words.index("sj_prepare_few()")
    assert words[first + 1 : first + 3 + count] == ["{", "sj_make_dirs", *ids]
    last = words.index("sj_start_few")
    each = [words[at + 1] for at in range(last) if words[at] == "sj_prepare_job"]
    assert (each, words[last - 1]) == (ids, "}")
    usual = ["||", "{", "sj_prepare_few;", "sj_start_jobs;", "}"]
    assert words[last + 1 : last + 8 + count] == [
        *(*ids, *usual),
        *("sj_await_claims", "$sj_due"),
    ]


@pytest.mark.parametrize("odd", [{"key": "k"}, {"spec": Spec(b"x", launcher="slurm")}])
def test_jobs_of_a_key_or_a_launcher_are_prepared_first(odd: dict[str, Any]) -> None:
    starts = (Start(ID, Spec(b"x")), Start(OTHER, Spec(b"x"))._replace(**odd))
    words = build_words(Request(starts=starts))
    assert "sj_start_few" not in words
    assert "sj_start_jobs" in words


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (9, [9]),
        (32, [32]),
        (33, [16, 17]),
        (112, [16, 32, 64]),
        (113, [16, 32, 64, 1]),
        (500, [16, 32, 64, 100, 100, 100, 88]),
    ],
)
def test_the_first_jobs_start_while_others_are_prepared(
    count: int, sizes: list[int]
) -> None:
    ids = [f"aaaabbbbcccc{number:04}" for number in range(count)]
    starts = tuple(Start(one, Spec(b"x")) for one in ids)
    words = build_words(Request(starts=starts))
    assert ("sj_many=1" in words) == (count > 32)
    calls = split_calls(words)
    names = [call[0] for call in calls]
    assert sum(sizes) == count
    rest = iter(ids)
    some = [list(islice(rest, size)) for size in sizes]
    assert [call[1:] for call in calls if call[0] == "sj_make_dirs"] == some
    assert [call[1] for call in calls if call[0] == "sj_prepare_job"] == ids
    expected = [
        ["sj_make_dirs", *["sj_prepare_job"] * len(one), "sj_start_jobs"]
        for one in some
    ]
    first, last = names.index("sj_make_dirs"), names.index("sj_await_claims")
    assert names[first:last] == [name for one in expected for name in one]
    assert calls[last] == ["sj_await_claims", "$sj_due"]


def test_another_launcher_is_told_of_a_hundred_at_a_time() -> None:
    spec = Spec(b"x", launcher="slurm")
    starts = tuple(Start(f"aaaabbbbcccc{n:04}", spec) for n in range(201))
    calls = split_calls(build_words(Request(starts=starts, launchers=("slurm",))))
    sizes = [len(call) - 1 for call in calls if call[0] == "sj_make_dirs"]
    assert sizes == [100, 100, 1]


def read_job(start: Start) -> tuple[dict[str, str], list[str]]:
    """Return the fields of a job's spec file, and the words after it."""
    calls = split_calls(build_words(Request(starts=(start,))))
    (job,) = [call for call in calls if call[0] == "sj_prepare_job"]
    assert job[1] == start.job_id
    fields = [word.partition("=") for word in shlex.split(job[2])]
    return {name.removeprefix("sj_"): value for name, _, value in fields}, job[3:]


def test_a_plain_job_is_its_line_and_nothing_else() -> None:
    fields, words = read_job(Start(ID, Spec(b"echo 'a' # b")))
    assert words == ["echo 'a' # b", "", "", "", "-", "", ""]
    assert fields == {
        "digest": "-",
        "name": "",
        "keyword": "",
        "sha": "",
        "kind": "line",
        "grace": "10.00",
        "gracecs": "1000",
        "timeout": "",
        "useshell": "",
        "hasenv": "",
        "unbuffered": "1",
        "hasin": "",
        "cwdtext": "",
        "cwd": "",
        "key": "",
    }
    assert next(iter(fields)) == "digest"


def test_a_job_with_everything_says_all_of_it() -> None:
    spec = Spec(
        command=(b"printf", b"%s\xff", b"a'b"),
        env=(("TOKEN", b"s3cr't"), ("B", b"")),
        cwd="~/x y\n",
        timeout=1.5,
        shell="bash -e",
        stdin=b"-\0%",
        kill_grace=2.25,
        launcher="slurm",
        launcher_args=(b"--mem=4G", b"-c", b"2"),
        unbuffered=False,
    )
    fields, words = read_job(Start(ID, spec, "k'\udcff", True, "n a\n"))
    sha = hashlib.sha256(b"k'\xff").hexdigest()
    assert words == [
        "exec 'printf' '%s\udcff' 'a'\\''b'",
        "sj_env() {\ncommand export TOKEN='s3cr'\\''t'\ncommand export B=''\n}\n"
        "sj_envnames='TOKEN B'",
        "\\055\\000%%",
        sha,
        spec.digest(),
        "1",
        "",
        "slurm",
    ]
    assert fields == {
        "digest": spec.digest(),
        "name": "n%20a%0A",
        "keyword": "k'%FF",
        "sha": sha,
        "kind": "vector",
        "grace": "2.25",
        "gracecs": "225",
        "timeout": "1.5",
        "useshell": "bash -e",
        "hasenv": "1",
        "unbuffered": "",
        "hasin": "1",
        "cwdtext": "~/x y%0A",
        "cwd": "~/x y\n",
        "key": "k'\udcff",
        "launcher": "slurm",
        "launchargs": "'--time=2' '--mem=4G' '-c' '2'",
    }


def test_a_line_has_its_shell_and_empty_input_is_an_input() -> None:
    fields, words = read_job(Start(ID, Spec(b"x", shell="zsh", stdin=b"")))
    assert words == ["x", "", "%s", "", "-", "", "zsh"]
    assert (fields["hasin"], fields["useshell"]) == ("1", "zsh")


@pytest.mark.parametrize(
    ("timeout", "text"),
    [
        (None, ""),
        (5, "5"),
        (5.0, "5"),
        (100.0, "100"),
        (0.25, "0.25"),
        (1.2346, "1.235"),
    ],
)
def test_a_limit_has_no_more_digits_than_it_needs(
    timeout: float | None, text: str
) -> None:
    assert read_job(Start(ID, Spec(b"x", timeout=timeout)))[0]["timeout"] == text


def test_what_is_shown_of_a_directory_is_short_and_all_of_it_is_kept() -> None:
    fields, _ = read_job(Start(ID, Spec(b"x", cwd="d" * 161)))
    assert (fields["cwdtext"], fields["cwd"]) == ("d" * 160, "d" * 161)


def test_the_directory_of_a_key_is_its_hash() -> None:
    assert key_hash("k\udcff") == hashlib.sha256(b"k\xff").hexdigest()


def test_a_watch_reads_from_the_journal_on_and_lives_for_five_minutes() -> None:
    text = protocol.build_watch("~/base", ("7", 9), NONCE)
    functions, words = split_program(text, "sj_open_round")
    assert functions == join_groups("round", "frame") + "umask 077\n\n"
    opening = ["sj_open_round", NONCE, "~/base", "7", "9", "0", "0", "0", find_runner()]
    assert words[: len(opening) + 1] == [*opening, "sj_life=150"]
    assert text.endswith(
        f"\nsj_life=150\n{join_groups('watch')}\nexit 0\n}}\n".encode()
    )
    assert protocol.WATCH_BEATS == 150


def test_a_fetch_names_one_log_and_its_fence() -> None:
    text, fence = protocol.build_fetch("~/base", LogWant(ID, 5, 100), NONCE)
    functions, words = split_program(text, "sj_fetch_log")
    assert functions == join_groups("round", "fetch") + "umask 077\n\n"
    call = ["sj_fetch_log", NONCE, "~/base", ID, "5", "100"]
    assert words == [*call, "exit", "0", "}"]
    assert fence == f"\nsshjobs-log 1 {NONCE}\n".encode()


def test_an_examination_serves_nothing_else() -> None:
    request = Request(examine=True, kills=(ID,), listing=True)
    functions, words = split_program(protocol.build(request, NONCE), "sj_guard_round")
    assert functions == join_groups("round", "frame", "doctor")
    end = ["}", "exit", "0"]
    assert words == ["sj_guard_round", *PLACE, "sj_examine_host", *PLACE, *end]


def test_an_examination_looks_at_launchers_that_jobs_name() -> None:
    request = Request(examine=True, launchers=("slurm",))
    functions, words = split_program(protocol.build(request, NONCE), "sj_guard_round")
    assert functions == join_groups("round", "frame", "doctor", "slurm")
    assert words[3:7] == ["sj_examine_host", *PLACE, "slurm"]


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        (b"", b"\n"),
        (b"x=1 #\n}\n", b"x=1 #\n}\n"),
        (b"# a\n\n  b\n\t#c\nd#", b"b\nd#\n"),
        (b"ab\nc", b"ab\nc\n"),
    ],
)
def test_lines_for_people_go_and_no_other(text: bytes, stripped: bytes) -> None:
    assert program.strip_comments(text) == stripped
