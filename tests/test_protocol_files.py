"""The question about files, and the reader of its answer, with no host but ``sh``.

That rsync and sftp keep to the names that are meant, only a real sshd can pin:
``test_copies.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.protocol import files
from sshjobs.protocol.files import FilesAnswer, Found

pytestmark = pytest.mark.quick

#: Every byte that a name may hold, by tens, since a name has its bounds.
ODD = bytes(range(1, 256)).replace(b"/", b"")
ODD_NAMES = [ODD[at : at + 10] for at in range(0, len(ODD), 10)]


def list_calls(base: bytes, *patterns: bytes) -> list[bytes]:
    """Return what a question calls, between the fence and the tool."""
    text = files.build_files_question(base, patterns, "N")
    found = re.search(rb"\nprintf '\\n%s\\0' N\n(.*)\nsj_find_tool\n", text, re.S)
    assert found
    return found[1].split(b"\n")


def ask_shell(program: bytes, home: Path) -> bytes:
    """Run a question as a host would, and return its answer."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["sh"], input=program, env=env, cwd=home, stdout=-1)
    return done.stdout


def find_files(
    home: Path, base: bytes, *patterns: bytes
) -> tuple[FilesAnswer, set[tuple[str, bytes, int]]]:
    """Return a host's whole answer, and what it says of each file."""
    program = files.build_files_question(base, patterns, "4f2a")
    answer = files.read_files_answer("gpu1", ask_shell(program, home), "4f2a", patterns)
    return answer, {(file.kind, file.path, file.pattern) for file in answer.files}


# -- the question --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        (b"plain", b"./'plain'"),
        (b"", b"./"),
        (b"/top/x", b"'/top/x'"),
        (b"~/a b", b"\"${sj_home%/}\"/'a b'"),
        (b"~", b"./'~'"),
        (b"~x/y", b"./'~x/y'"),
        (b"a~/y", b"./'a~/y'"),
        (b"a*b?c", b"./'a'*'b'?'c'"),
        (b"***", b"./***"),
        (b"??", b"./??"),
        (b"a'b", b"./'a'\\''b'"),
        (b"$(x)`y`\n;", b"./'$(x)`y`\n;'"),
        (b"[a-c]", b"./[a-c]"),
        (b"[!a-c]x", b"./[!a-c]'x'"),
        (b"[a;b]", b"./[a';'b]"),
        (b"[$`]", b"./['$`']"),
        (b"[a\nb]", b"./[a'\n'b]"),
        (b"[!]", b"./['!']"),
        (b"[!!]", b"./[!'!']"),
        (b"[!;]", b"./[!';']"),
        (b"[a!]", b"./[a'!']"),
        (b"[]a]", b"./[']'a]"),
        (b"[!]a]", b"./[!']'a]"),
        (b"[9-]", b"./[9-]"),
        (b"[-_]", b"./[-'_']"),
        (b"[--9]", b"./[--9]"),
        (b"[a", b"./'[''a'"),
        (b"[]", b"./'['']'"),
        (b"a]", b"./'a]'"),
        (b"[a/b]", b"./'[''a/b]'"),
        (b"[]/]", b"./'['']/]'"),
    ],
)
def test_only_the_marks_of_a_pattern_are_special_to_the_shell(
    pattern: bytes, word: bytes
) -> None:
    calls = b"\n".join(list_calls(b"", pattern))
    assert calls == b"sj_enter_dir ''\nsj_show_files 0 " + word


def test_each_pattern_has_its_number_and_the_base_is_one_word() -> None:
    assert list_calls(b"it's $x", b"a", b"b*", b"/c") == [
        b"sj_enter_dir 'it'\\''s $x'",
        b"sj_show_files 0 ./'a'",
        b"sj_show_files 1 ./'b'*",
        b"sj_show_files 2 '/c'",
    ]


@pytest.mark.parametrize(("make", "word"), [(True, b"1"), (False, b"")])
def test_a_place_is_made_only_if_it_is_asked_for(make: bool, word: bytes) -> None:
    program = files.build_place_question(b"a b", make, "N")
    assert b"\nsj_find_target 'a b' " + word + b"\nsj_find_tool\n" in program


def test_a_question_that_was_cut_does_nothing(tmp_path: Path) -> None:
    """Nor does it answer; whole, it makes the directory."""
    program = files.build_place_question(b"new/", True, "N")
    end = program.rindex(b"}")
    for cut in (len(program) // 2, program.index(b"sj_find_target 'new"), end - 1, end):
        assert ask_shell(program[:cut], tmp_path) == b""
        assert not (tmp_path / "new").exists()
    assert ask_shell(program, tmp_path).startswith(b"\nN\0d\0")
    assert (tmp_path / "new").is_dir()


def test_nothing_behind_a_question_is_run(tmp_path: Path) -> None:
    program = files.build_place_question(b"x", False, "N") + b"touch more\n"
    ask_shell(program, tmp_path)
    assert not (tmp_path / "more").exists()


# -- question and answer -------------------------------------------------------------


def test_a_shell_finds_what_the_patterns_mean(tmp_path: Path) -> None:
    for name in ("a.csv", "b c.csv", "é.csv", ".hidden.csv", "a.txt", "x1", "x;", "x!"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/deep").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    top = os.fsencode(tmp_path.resolve())
    answer, found = find_files(
        tmp_path, b"", b"*.csv", b"s*", b"~/sub/d?ep", b"x[!0-9;]", b"pipe", b"none*"
    )
    assert found == {
        ("f", top + b"/a.csv", 0),
        ("f", top + b"/b c.csv", 0),
        ("f", top + "/é.csv".encode(), 0),
        ("d", top + b"/sub", 1),
        ("f", top + b"/sub/deep", 2),
        ("f", top + b"/x!", 3),
        ("o", top + b"/pipe", 4),
        ("n", top + b"/none*", 5),
    }
    assert (answer.base, answer.path) == ("in", top)


def test_a_name_of_any_bytes_is_found_by_itself(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    top = os.fsencode(there.resolve())
    for name in ODD_NAMES:
        Path(os.fsdecode(top + b"/" + name)).write_bytes(b"")
    _, found = find_files(
        tmp_path, b"there", *(re.sub(b"[*?[]", b"?", name) for name in ODD_NAMES)
    )
    assert found == {("f", top + b"/" + name, at) for at, name in enumerate(ODD_NAMES)}


@pytest.mark.parametrize(("base", "word"), [(b"gone", "gone"), (b"file", "gone")])
def test_a_directory_that_is_none_is_told(
    tmp_path: Path, base: bytes, word: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    answer, _ = find_files(tmp_path, base)
    assert (answer.base, answer.path) == (word, os.fsencode(tmp_path) + b"/" + base)


# -- the answer ----------------------------------------------------------------------


def read(*words: bytes, patterns: Sequence[bytes] = (b"*.csv",)) -> FilesAnswer:
    """Return what is read of an answer of these words, behind a login's noise."""
    answer = b"Welcome!\n\nN\0" + b"".join(word + b"\0" for word in words)
    return files.read_files_answer("gpu1", answer, "N", patterns)


END = (b"end", b"N")


def test_an_answer_has_its_directory_files_and_tool() -> None:
    files_said = [
        b"0f",
        b"/d/a.csv",
        b"1n",
        b"gone",
        b"0p",
        b"/d/b.csv",
        b"1o",
        b"/d/x",
    ]
    assert read(
        b"in", b"/d", *files_said, b"rsync", *END, patterns=[b"*.csv", b"x"]
    ) == (
        FilesAnswer(
            "in",
            b"/d",
            True,
            (
                Found("f", b"/d/a.csv", 0),
                Found("n", b"gone", 1),
                Found("p", b"/d/b.csv", 0),
                Found("o", b"/d/x", 1),
            ),
        )
    )


def test_an_answer_may_have_no_files_and_another_tool() -> None:
    assert read(b"d", b"/d", b"sftp", *END) == FilesAnswer("d", b"/d", False, ())
    assert not read(b"d", b"/d", b"rsync2", *END).has_rsync
    assert read(b"\xff", b"", b"", *END).base == "\udcff"


def test_the_tenth_pattern_has_two_digits() -> None:
    patterns = [b"x"] * 10 + [b"*.csv"]
    answer = read(b"in", b"/", b"10d", b"/a.csv", b"sftp", *END, patterns=patterns)
    assert answer.files == (Found("d", b"/a.csv", 10),)
    assert answer.files[0].name == b"a.csv"


@pytest.mark.parametrize(
    "words",
    [
        [],
        [*END],
        [b"in", *END],
        [b"in", b"/d", *END],
        [b"in", b"/d", b"0f", b"/d/a.csv", *END],
        [b"in", b"/d", b"sftp"],
        [b"in", b"/d", b"sftp", b"end"],
        [b"in", b"/d", b"sftp", b"end", b"M"],
        [b"in", b"/d", b"sftp", b"ends", b"N"],
        [b"in", b"/d", b"sftp", *END, b"more"],
        [b"in", b"/d", b"sftp", *END, b"more", b"words"],
    ],
)
def test_an_answer_that_is_not_whole_is_refused(words: list[bytes]) -> None:
    with pytest.raises(errors.ProtocolError, match="did not arrive whole") as caught:
        read(*words)
    assert caught.value.host == "gpu1"


def test_an_answer_that_was_cut_anywhere_is_refused() -> None:
    whole = b"\nN\0in\0/d\0" + b"0f\0/d/a.csv\0" + b"rsync\0end\0N\0"
    files.read_files_answer("gpu1", whole, "N", [b"*.csv"])
    for at in range(len(whole)):
        with pytest.raises(errors.ProtocolError, match="did not arrive whole"):
            files.read_files_answer("gpu1", whole[:at], "N", [b"*.csv"])


@pytest.mark.parametrize(
    "mark",
    [b"", b"0", b"f", b"0x", b"0fd", b"00f", b"1f", b"-1f", b"+0f", b" 0f", b"0\xff"]
    + [b"0" * 9 + b"7n", b"0" * 5000 + b"f", b"0 ", "٠f".encode()],
)
def test_a_file_with_an_unknown_mark_is_refused(mark: bytes) -> None:
    with pytest.raises(errors.ProtocolError, match="in an unknown way"):
        read(b"in", b"/d", mark, b"/d/a.csv", b"sftp", *END)


@pytest.mark.parametrize("kind", [b"f", b"d", b"o", b"p"])
@pytest.mark.parametrize(
    "path", [b"/d/.bashrc", b"a.csv", b"d/a.csv", b"/d/x", b"/d/a.csv/", b"/", b""]
)
def test_a_file_that_no_pattern_means_is_refused(kind: bytes, path: bytes) -> None:
    with pytest.raises(errors.ProtocolError, match="nobody asked for"):
        read(b"in", b"/d", b"0" + kind, path, b"sftp", *END)


def test_a_file_must_be_meant_by_the_pattern_that_is_said_to_find_it() -> None:
    with pytest.raises(errors.ProtocolError, match="nobody asked for"):
        patterns = [b"*.csv", b"*.txt"]
        read(b"in", b"/d", b"1f", b"/d/a.csv", b"sftp", *END, patterns=patterns)


@pytest.mark.parametrize(
    ("pattern", "meant", "refused"),
    [
        (
            "out/*.csv",
            ["a.csv", "b c.csv", "é.csv", "*.csv"],
            [".csv", ".a.csv", "a.csv/x", "a", "a.csvx", "acsv"],
        ),
        (
            "*",
            ["a", "a\nb", "x" * 255],
            [".bashrc", "..", ".", "", "a/b", "/", "x" * 256],
        ),
        ("..*", ["..a", "..."], ["..", ".", "a"]),
        ("..", [], [".."]),
        (
            "a[0-9]?",
            ["a1b", "a7é", "a7\n", "a8\U0001f600"],
            ["a", "a1", "ba1b", "a12é"],
        ),
        ("[!a]x", ["bx", "éx"], [".x", "x", "x/", "bbx"]),
        ("plain", ["plain"], ["Plain", "plain2", ".bashrc", "plai"]),
        (".[a-z]*", [".bashrc"], ["bashrc", "..", "."]),
        ("a[b", ["a[b"], ["ab", "a"]),
        ("a[", ["a["], ["a", "ab"]),
        ("[]a]", ["]", "a", "[]a]"], ["]]"]),
        ("a.c", ["a.c"], ["abc"]),
        ("a**b", ["ab", "axb", "a\n\nb"], ["a", "b"]),
        ("???", ["abc", "é\nb"], ["ab", "abcd"]),
    ],
)
def test_a_name_that_no_pattern_means_is_refused(
    pattern: str, meant: list[str], refused: list[str]
) -> None:
    """A host that is asked for *.csv must not send .bashrc (CVE-2019-6111)."""
    for name in meant:
        assert files.is_meant(pattern.encode(), name.encode()), name
    for name in refused:
        assert not files.is_meant(pattern.encode(), name.encode()), name


def test_a_question_mark_means_a_byte_that_is_no_utf8() -> None:
    assert files.is_meant(b"a?", b"a\xff") and files.is_meant(b"a[!b]", b"a\x80")
    assert not files.is_meant(b"a?", b"a\xff\xff")


def test_an_answer_has_room_for_a_hundred_thousand_files() -> None:
    assert files.MAX_ANSWER == 16 * 1024 * 1024
