"""What rsync and sftp are told, and what is made of their ends; no host is asked.

That they copy, only real ones over a real sshd can show: ``test_copies.py``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sshjobs import errors
from sshjobs.protocol import files
from sshjobs.protocol.files import FilesAnswer, Found
from sshjobs.verbs import copy_files, copy_question, copy_tools
from sshjobs.verbs.copy_ride import RideWish
from sshjobs.verbs.copy_tools import CopyTool, find_rsync

pytestmark = pytest.mark.quick

#: Writes down how it was called, and the files that it was given.
NOTES = """#!/usr/bin/env python3
import json, os, sys
argv = [os.fsencode(word).decode("latin-1") for word in sys.argv[1:]]
read = {}
for word in argv:
    path = word.partition("=")[2] or word
    if path.startswith("/") and os.path.isfile(path):
        read[os.path.basename(path)] = open(path, encoding="latin-1").read()
said = {"argv": argv, "read": read, "env": dict(os.environ)}
json.dump(said, open(%r, "w"))
"""


class Tool:
    """A program in the place of a tool, and a copy that runs it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "tool")
        self._notes = folder / "notes"
        self.copy = self.make_copy()
        self.be(NOTES % str(self._notes))

    def be(self, program: str) -> None:
        """Be another program."""
        Path(self.path).write_text(program)
        os.chmod(self.path, 0o755)

    def make_copy(self, shows: bool = False) -> CopyTool:
        return CopyTool(RideWish("gpu1", {"a": 1}, "rsync", "/there"), shows)

    @property
    def notes(self) -> dict[str, Any]:
        """How it was called."""
        found: dict[str, Any] = json.loads(self._notes.read_text())
        return found


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


def test_rsync_takes_contents_and_keeps_what_has_arrived(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the user's environment says of rsync."""
    monkeypatch.setenv("RSYNC_RSH", "evil")
    monkeypatch.setenv("RSYNCING", "fine")
    tool.copy.rsync(tool.path, [b"./-a", b"/b \xff"], "host:/")
    *options, ssh = tool.notes["argv"][:5]
    assert options == ["-rtL", "--partial", "--no-s", "-e"]
    assert tool.notes["argv"][5:] == ["--", "./-a", "/b \xff", "host:/"]
    assert ssh.startswith("/bin/sh '/") and ssh.endswith("/ssh'")
    assert not os.path.exists(ssh[9:-1])
    env = tool.notes["env"]
    assert "RSYNC_RSH" not in env and env["RSYNCING"] == "fine"


def test_the_ssh_of_a_tool_knows_its_wish_and_is_ours_alone(tool: Tool) -> None:
    folder = Path(tool.path).parent
    tool.be(
        '#!/bin/sh\nssh=${5#*\\\'}; cd "$(dirname "${ssh%?}")" &&\n'
        f"cat ssh >{folder}/ssh; cat wish >{folder}/wish\n"
        f"stat -c %a . ssh >{folder}/mode\n"
    )
    tool.copy.rsync(tool.path, [], "t")
    wish = RideWish(*json.loads((folder / "wish").read_text()))
    assert wish == RideWish("gpu1", {"a": 1}, "rsync", "/there")
    assert (folder / "mode").read_text().split() == ["700", "700"]
    first, line = (folder / "ssh").read_text().splitlines()
    assert first == "#!/bin/sh" and line.startswith("exec '") and line.endswith(' "$@"')


def test_files_that_a_host_sends_are_named_to_rsync_one_by_one(tool: Tool) -> None:
    found = [Found("f", b"/d/a b", 0), Found("d", b"/d/\xff\n", 1)]
    tool.copy.rsync(tool.path, [b"host:/"], "/here/", found=found)
    assert tool.notes["argv"][5] == "--from0"
    assert tool.notes["argv"][7:] == ["--no-relative", "--", "host:/", "/here/"]
    assert tool.notes["argv"][6].startswith("--files-from=/")
    assert tool.notes["read"] == {"files-from": "/d/a b\0/d/\xff\n\0"}


@pytest.mark.parametrize("mark", [b"*", b"?", b"[", b"\\"])
def test_a_name_that_is_a_pattern_to_rsync_stands_in_a_rule(
    tool: Tool, mark: bytes
) -> None:
    found = [Found("f", b"/d/a" + mark, 0), Found("d", b"/d/b", 0)]
    tool.copy.rsync(tool.path, [b"host:/"], "/here/", found=found)
    argv = tool.notes["argv"]
    assert argv[8] == "--old-args" and argv[10] == "--exclude=/**"
    assert argv[9].startswith("--include-from=/")
    # In a rule without the other marks a backslash means itself.
    name = "/a" + "\\" * (mark != b"\\") + mark.decode()
    assert tool.notes["read"]["include-from"] == f"{name}\0/b/***\0"


def test_sftp_gets_a_batch_of_lines(tool: Tool) -> None:
    tool.copy.sftp(tool.path, [b"put a b", b"put c \xff"])
    argv = tool.notes["argv"]
    assert argv[:2] == ["-q", "-b"] and argv[3] == "-S" and argv[5:] == ["host"]
    assert tool.notes["read"]["batch"] == "put a b\nput c \xff\n"


@pytest.mark.parametrize(
    ("line", "is_refused"),
    [(b"x" * 2000, False), (b"x" * 2001, True), (b"put a\nb", True)],
)
def test_sftp_gets_no_line_that_it_would_cut(
    tool: Tool, line: bytes, is_refused: bool
) -> None:
    if not is_refused:
        tool.copy.sftp(tool.path, [line])
        return
    with pytest.raises(errors.CopyFailed, match="install rsync"):
        tool.copy.sftp(tool.path, [b"put a b", line])
    assert not os.path.exists(tool.path.replace("tool", "notes"))


def test_progress_is_shown_if_it_is_wanted(
    tool: Tool, capfd: pytest.CaptureFixture[str]
) -> None:
    tool.make_copy(shows=True).rsync(tool.path, [], "t")
    assert tool.notes["argv"][5] == "--info=progress2"
    tool.make_copy(shows=True).sftp(tool.path, [b"put a b"])
    assert tool.notes["read"]["batch"] == "@progress\n@put a b\n"
    for shows in (True, False):
        tool.be("#!/bin/sh\necho out\n")
        tool.make_copy(shows).rsync(tool.path, [], "t")
        assert capfd.readouterr() == ("", "out\n" * shows)


# -- ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rsync", "sftp"])
@pytest.mark.parametrize("status", [1, 5, 10, 11, 12, 20, 23, 24, 25, 30, 35, 255])
def test_a_status_of_a_tool_is_an_error(tmp_path: Path, name: str, status: int) -> None:
    tool = Tool(tmp_path)
    tool.path = str(tmp_path / name)
    tool.be(f"#!/bin/sh\necho 'it says' >&2; exit {status}\n")
    is_lost = status == 255 or (name == "rsync" and status in (10, 12, 30, 35))
    words = f"{name} ended with {status}:"
    if status in (23, 24) or name == "sftp":
        words = f"{name} copied not all of it:"
    if is_lost:
        words = "the connection ended in the middle of the copy"
    kind = errors.ConnectionLost if is_lost else errors.CopyFailed
    with pytest.raises(errors.SshJobsError) as caught:
        if name == "rsync":
            tool.copy.rsync(tool.path, [], "t")
        else:
            tool.copy.sftp(tool.path, [])
    assert type(caught.value) is kind
    assert f"{words}\nit says" in str(caught.value)
    hint = "the host has neither rsync nor sftp"
    assert (hint in str(caught.value)) == (is_lost and name == "sftp")
    assert ("run it again to go on" in str(caught.value)) == is_lost


def test_an_error_of_our_ssh_is_raised_as_it_was(tool: Tool) -> None:
    folder = Path(tool.path).parent
    (folder / "error").write_text(errors.dump(errors.SessionRefused("h", "no room")))
    tool.be(
        "#!/bin/sh\nssh=${5#*\\'}; cp "
        f'{folder}/error "$(dirname "${{ssh%?}}")"; exit 12\n'
    )
    with pytest.raises(errors.SessionRefused, match="no room"):
        tool.copy.rsync(tool.path, [], "t")


def test_of_many_complaints_the_first_are_shown(tool: Tool) -> None:
    tool.be("#!/bin/sh\nseq 1 12 >&2; echo >&2; exit 23\n")
    with pytest.raises(errors.CopyFailed) as caught:
        tool.copy.rsync(tool.path, [], "t")
    shown = [str(number) for number in range(1, 11)]
    assert str(caught.value).splitlines()[1:] == [*shown, "and 2 lines more"]
    tool.be("#!/bin/sh\nseq 1 10 >&2; exit 23\n")
    with pytest.raises(errors.CopyFailed) as caught:
        tool.copy.rsync(tool.path, [], "t")
    assert str(caught.value).splitlines()[1:] == shown


def test_a_flood_of_complaints_stops_no_tool_and_is_cut(tool: Tool) -> None:
    tool.be(
        "#!/usr/bin/env python3\nimport os, sys\n"
        "for _ in range(30): os.write(2, b'x' * 10000)\n"
        "os.write(2, b'\\nlast'); sys.exit(23)\n"
    )
    with pytest.raises(errors.CopyFailed) as caught:
        tool.copy.rsync(tool.path, [], "t")
    assert str(caught.value).splitlines()[1:] == ["x" * 500]


def test_a_signal_ends_the_tool_so_that_it_keeps_what_is_there(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has SIGINT first, as from a terminal, and the handlers are as before."""
    monkeypatch.setattr(copy_tools, "_GRACE", 60.0)
    folder = Path(tool.path).parent
    tool.be(
        "#!/bin/bash\n"
        f"trap 'echo kept >{folder}/kept; exit 20' INT\n"
        f"kill -TERM $PPID; while :; do sleep 0.05; done\n"
    )
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(errors.Interrupted) as caught:
        tool.copy.rsync(tool.path, [], "t")
    assert caught.value.signum == signal.SIGTERM
    assert (folder / "kept").read_text() == "kept\n"
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert after == before


@pytest.mark.parametrize(
    ("words", "is_fit"),
    [
        ("rsync  version 3.2.5  protocol version 31", True),
        ("rsync  version v3.4.1  protocol version 32", True),
        ("rsync  version 3.2.4  protocol version 31", False),
        ("rsync  version 2.6.9  protocol version 29", False),
        ("rsync  version 3.10  protocol version 31", True),
        ("openrsync: protocol version 29", False),
        ("rsync", False),
        ("", False),
    ],
)
def test_an_old_rsync_is_no_reader_of_what_a_host_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, is_fit: bool
) -> None:
    rsync = tmp_path / "rsync"
    rsync.write_text(f"#!/bin/sh\necho '{words}'\n")
    rsync.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_rsync(receives=True) == (str(rsync) if is_fit else "")
    assert find_rsync(receives=False) == str(rsync)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert find_rsync(receives=True) == find_rsync(receives=False) == ""


# -- the question --------------------------------------------------------------------


def read_answer(line: str, silence: float = 60.0) -> bytes:
    """Read the answer of a host that is a line of sh."""
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE) as child:
        try:
            return copy_question._read_answer("gpu1", child, silence)
        finally:
            child.kill()


def test_an_answer_comes_in_pieces_up_to_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert read_answer("printf 123; sleep 0.1; printf 456") == b"123456"
    monkeypatch.setattr(files, "MAX_ANSWER", 6)
    assert read_answer("printf 123456") == b"123456"
    with pytest.raises(errors.CopyFailed, match="more files are meant"):
        read_answer("printf 1234567; exec sleep 600")


def test_a_host_that_says_nothing_is_not_waited_for() -> None:
    with pytest.raises(errors.CommandTimeout, match="said nothing for 0.3 s"):
        read_answer("printf 123; exec sleep 600", 0.3)


@pytest.mark.parametrize(
    ("answer", "found", "told"),
    [
        (("in", [("f", "/d/a", 0), ("d", "/d/b", 1), ("f", "/d/a", 1)]), 2, ""),
        (("in", []), 0, ""),
        (("gone", []), 0, "/d: is gone (the directory ~)"),
        (("shut", []), 0, "/d: permission denied (the directory ~)"),
        (("in", [("f", "/d/a", 0), ("n", "/d/c", 1)]), 0, "b*: no such file or direc"),
        (("in", [("p", "/d/a", 0)]), 0, "a: permission denied, below /d"),
        (("in", [("o", "/d/a", 0)]), 0, "a: is no file and no directory, below /d"),
    ],
)
def test_each_pattern_must_find_what_can_be_copied(
    answer: tuple[str, list[tuple[str, str, int]]], found: int, told: str
) -> None:
    """What two patterns find is copied once."""
    base, said = answer
    some = tuple(Found(kind, path.encode(), number) for kind, path, number in said)
    whole = FilesAnswer(base, b"/d", True, some)
    check: Callable[..., list[Found]] = copy_files._check_found
    if not told:
        chosen = check("gpu1", "", whole, [b"a", b"b*"])
        assert [file.path for file in chosen] == [file.path for file in some[:found]]
        return
    with pytest.raises(errors.CopyFailed) as caught:
        check("gpu1", "", whole, [b"a", b"b*"])
    assert f"gpu1: {told}" in str(caught.value)
