"""Files to a host and back, over the one connection: put and get."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sshjobs.verbs.copy_ride import escape_for_login_shell
from tests.cli import Cli, eventually, finish

TOP = Path(__file__).parent.parent

#: Names that a shell, an option reader or a terminal would take for more.
NAMES = (
    "plain.csv",
    "two words.csv",
    "-rf.csv",
    "new\nline.csv",
    "$(touch pwned).csv",
    "`id`;&|.csv",
    "a'b\"c\\d.csv",
    "[x]*.csv",
    "a\\*?[b].csv",
    "* ",
    "é.csv",
    "\x1b]0;title\x07.csv",
)


@pytest.fixture
def there(place: Path, cli: Cli) -> Path:
    """A directory on the host, which the login user may write to."""
    folder = place / "host/there"
    cli.ok("ssh", cli.host, f"mkdir -p {folder}/out")
    return folder


def test_files_go_there_and_come_back(cli: Cli, there: Path, place: Path) -> None:
    (place / "up/sub").mkdir(parents=True)
    for name in NAMES:
        (place / "up" / name).write_text(name)
    (place / "up/sub/deep").write_text("deep")
    cli.ok("put", cli.host, *(place / "up" / name for name in NAMES), f"{there}/new/")
    assert {p.name: p.read_text() for p in (there / "new").iterdir()} == {
        name: name for name in NAMES
    }
    cli.ok("put", cli.host, f"{place}/up/", there)
    assert (there / "up/sub/deep").read_text() == "deep"
    cli.ok("get", cli.host, f"{there}/new/*", f"{there}/up", f"{place}/back/")
    assert sorted(os.listdir(place / "back")) == sorted([*NAMES, "up"])
    assert (place / "back/up/sub/deep").read_text() == "deep"
    assert not list(place.rglob("pwned"))
    assert cli.sshd is not None
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


@pytest.fixture
def no_rsync(place: Path) -> dict[str, str]:
    """An environment in which this machine has no rsync."""
    folder = place / "programs"
    folder.mkdir()
    for name in ("sh", "ssh", "sftp", "env"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(folder)}


def test_without_rsync_sftp_copies(
    new_box: Callable[..., Cli], place: Path, no_rsync: dict[str, str]
) -> None:
    cli = new_box(Subsystem="sftp internal-sftp")
    names = [name for name in NAMES if "\n" not in name]
    there = place / "host0/there"
    (place / "up/sub").mkdir(parents=True)
    for name in names:
        (place / "up" / name).write_text(name)
    (place / "up/sub/deep").write_text("deep")
    for _ in range(2):  # the second time into what is there
        done = cli("put", cli.host, f"{place}/up", f"{there}/", env=no_rsync)
        assert done.status == 0, done
        words = (cli.host, f"{there}/up/*", f"{place}/back/")
        done = cli("get", *words, env=no_rsync)
        assert done.status == 0, done
    assert sorted(os.listdir(there / "up")) == sorted([*names, "sub"])
    assert sorted(os.listdir(place / "back")) == sorted([*names, "sub"])
    assert (place / "back/sub/deep").read_text() == "deep"
    (place / "new\nline").touch()
    done = cli("put", cli.host, f"{place}/new\nline", there, env=no_rsync)
    assert done.status == 1 and "install rsync" in done.err
    assert cli.sshd is not None
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_the_files_of_a_job_are_those_of_its_directory(
    cli: Cli, there: Path, place: Path
) -> None:
    line = "cd out; for i in 1 2 3; do echo $i > $i.csv; done; ln -s 3.csv last.csv"
    job_id = cli.submit("--name", "train", "--cwd", there, "--", line)
    cli("wait", job_id)
    home = place / "here"
    home.mkdir()
    [done] = finish(
        [cli.start("get", "train", "out/*.csv", cwd=home, env={"PYTHONPATH": str(TOP)})]
    )
    assert done.status == 0, done
    assert {p.name: p.read_text() for p in home.iterdir()} == {
        "1.csv": "1\n",
        "2.csv": "2\n",
        "3.csv": "3\n",
        "last.csv": "3\n",
    }
    assert not (home / "last.csv").is_symlink()
    cli.ok("reap", job_id)
    done = cli("get", job_id, "out/1.csv", "out/2.csv", f"{place}/two/", "--json")
    assert [one["target"] for one in done.objects] == [
        f"{place}/two/1.csv",
        f"{place}/two/2.csv",
    ]
    shutil.rmtree(there)
    done = cli("get", job_id, "out/*.csv", place)
    assert done.status == 1 and f"{there}: is gone" in done.err
    done = cli("get", "a" * 16, "x")
    assert done.status == 64 and "no such job" in done.err


def test_a_target_is_a_directory_or_a_new_name(
    cli: Cli, there: Path, place: Path
) -> None:
    (place / "tree").mkdir()
    (place / "tree/leaf").write_text("leaf")
    cli.ok("put", cli.host, place / "tree", there / "other [name]")
    assert (there / "other [name]/leaf").read_text() == "leaf"
    cli.ok("put", cli.host, place / "tree/leaf", f"{there}/*")
    assert (there / "*").read_text() == "leaf"
    cli.ok("get", cli.host, f"{there}/other [[]name]", place / "renamed")
    cli.ok("get", cli.host, f"{there}/other ?name?/leaf", place / "file")
    assert (place / "renamed/leaf").read_text() == "leaf"
    assert (place / "file").read_text() == "leaf"
    assert not list(place.glob(".*"))
    os.mkfifo(place / "pipe")  # as <(COMMAND) is one
    leaf, renamed = place / "tree/leaf", place / "renamed/leaf"
    failing: list[tuple[int, str, list[str | Path]]] = [
        (1, "no directory", ["put", cli.host, leaf, there / "no/way"]),
        (1, "directory", ["put", cli.host, place / "file", leaf, there / "x"]),
        (1, "no directory", ["put", cli.host, leaf, "/root/x"]),
        (1, "permission denied", ["put", cli.host, leaf, "/root/"]),
        (1, "none could be made", ["put", cli.host, leaf, "/root/new/"]),
        (1, "none could be made", ["put", cli.host, leaf, "/usr/new/"]),
        (64, "no file and no directory", ["put", cli.host, place / "pipe", there]),
        (64, "DEST is empty", ["put", cli.host, leaf, ""]),
        (64, "DEST is empty", ["get", cli.host, there / "*", ""]),
        (64, "FILE is empty", ["get", cli.host, "", place]),
        (64, "is no directory", ["get", cli.host, there / "?", f"{place}/file/"]),
        (1, "no such file", ["get", cli.host, there / "nothing*", place]),
        (1, "no file and no directory", ["get", cli.host, "/dev/null", place]),
        (64, "no such file", ["put", cli.host, place / "missing", there]),
        (64, "DEST is missing", ["put", cli.host, place / "file"]),
        (64, "the files are missing", ["put", cli.host]),
        (64, "FILE is missing", ["get", cli.host]),
        (64, f"sshjobs get {cli.host} out .", ["get", f"{cli.host}:out", "."]),
        (64, f"sshjobs put {cli.host} x .", ["put", f"{cli.host}:", "x"]),
        (64, f"sshjobs put {cli.host} {leaf} y", ["put", leaf, f"{cli.host}:y"]),
        (69, "no job is called unknown either", ["get", "unknown", "x"]),
        (64, "two", ["put", cli.host, leaf, renamed, there]),
        (64, "own name", ["get", cli.host, f"{there}/other*/..", place]),
        (64, "no directory", ["get", cli.host, there / "*", place / "file/x"]),
        (64, "this machine", ["put", "local", place / "file", "."]),
    ]
    for status, told, words in failing:
        done = cli(*words)
        assert done.status == status and told in done.err, done


def test_a_new_name_is_given_beside_it_and_nothing_else_is_touched(
    cli: Cli, there: Path, place: Path
) -> None:
    (there / "file").write_text("text")
    (place / "old").write_text("old")
    done = cli("get", cli.host, there / "out", place / "old")
    assert done.status == 64 and "is no directory, and out is one" in done.err
    assert (place / "old").read_text() == "old" and not list(place.glob(".*"))
    part = place / ".new.part"
    part.mkdir()
    (part / "half").write_text("of another file that was broken off")
    cli.ok("get", cli.host, there / "file", place / "new")
    assert (place / "new").read_text() == "text" and os.listdir(part) == ["half"]
    part.rename(place / "mine")
    part.symlink_to(place / "mine")  # as another user may in /tmp
    done = cli("get", cli.host, there / "file", place / "new")
    assert done.status == 64 and f"{part}: is no directory of yours" in done.err
    assert os.listdir(place / "mine") == ["half"]


def test_a_file_that_the_host_keeps_to_itself_is_missed(
    new_box: Callable[..., Cli], place: Path
) -> None:
    cli = new_box(SetEnv=f"PATH={place}/host0/bin:/usr/bin:/bin")
    there = place / "host0/there"
    cli.ok("ssh", cli.host, f"mkdir {there} {place}/host0/bin; touch {there}/file")
    (place / "host0/bin/rsync").write_text(
        '#!/bin/sh\nexec /usr/bin/rsync "--exclude=*" "$@"\n'
    )
    (place / "host0/bin/rsync").chmod(0o755)
    for target in (place, place / "new"):
        done = cli("get", cli.host, there / "file", target)
        assert done.status == 1 and f"{there}/file: did not arrive" in done.err, done


SHELLS = "sh bash dash zsh fish tcsh csh ksh mksh yash busybox".split()


@pytest.mark.quick
@pytest.mark.parametrize("shell", [name for name in SHELLS if shutil.which(name)])
def test_a_place_is_one_word_of_any_login_shell(shell: str, tmp_path: Path) -> None:
    odd = bytes(range(1, 128)).replace(b"\n", b"").replace(b"/", b"")
    for path in (b"/d/" + odd[:9], b"/d/~ " + odd[9:], "/d/é ü€".encode()):
        word = b"printf %s " + escape_for_login_shell(path)
        start = ["busybox", "sh"] if shell == "busybox" else [shell]
        argv = [*start, "-c", os.fsdecode(word)]
        env = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(argv, env=env, stdout=-1, cwd=tmp_path)
        assert done.stdout == path, shell


#: An rsync of a hostile host: it takes another name for the one that was asked for, and
#: keeps to no rule.
LIAR = """#!/usr/bin/python3
import subprocess, sys, threading, os
real = subprocess.Popen(["/usr/bin/rsync", *sys.argv[1:]], stdin=subprocess.PIPE)
def pass_on():
    while data := os.read(0, 65536):
        data = data.replace(b"- /**", b"+ /**")
        real.stdin.write(data.replace(b"/%s", b"/.evil_one"))
        real.stdin.flush()
    real.stdin.close()
threading.Thread(target=pass_on, daemon=True).start()
sys.exit(real.wait())
"""


@pytest.mark.skipif(not os.path.exists("/usr/bin/rsync"), reason="no rsync here")
@pytest.mark.parametrize("name", ["asked.csv", "*********"])
def test_a_host_cannot_send_a_file_that_was_not_asked_for(
    new_box: Callable[..., Cli], place: Path, name: str
) -> None:
    """rsync looks at it (CVE-2022-29154), and takes a name for a pattern if it may."""
    cli = new_box(SetEnv=f"PATH={place}/host0/bin:/usr/bin:/bin")
    there = place / "host0/there"
    cli.ok("ssh", cli.host, f"mkdir {there} {place}/host0/bin")
    for one in (name, ".evil_one"):
        (there / one).write_text(one)
    (place / "host0/bin/rsync").write_text(LIAR % name)
    (place / "host0/bin/rsync").chmod(0o755)
    (place / "back").mkdir()
    done = cli("get", cli.host, f"{there}/*", place / "back")
    assert done.status in (1, 75) and "rejecting" in done.err, done
    assert not list((place / "back").iterdir())


def test_a_copy_that_was_interrupted_goes_on(
    cli: Cli, there: Path, place: Path
) -> None:
    data = os.urandom(24 << 20)
    (there / "big").write_bytes(data)
    (place / "here").mkdir()
    copy = cli.start("get", cli.host, there / "big", place / "here")
    here = place / "here"

    def has_begun() -> bool:
        try:
            return any(path.stat().st_size for path in here.iterdir())
        except FileNotFoundError:  # it has its own name by now
            return True

    eventually(has_begun)
    copy.send_signal(signal.SIGINT)
    [ended] = finish([copy])
    if ended.status:  # else it was quicker
        assert ended.status == 130
        assert [path.name for path in here.iterdir()] == ["big"]
        arrived = (here / "big").read_bytes()
        assert arrived and data.startswith(arrived)
        assert ended.err.splitlines()[-1].split() == [
            "sshjobs",
            "get",
            cli.host,
            str(there / "big"),
            str(place / "here"),
        ]
    cli.ok("get", cli.host, there / "big", place / "here")
    assert [p.name for p in (place / "here").iterdir()] == ["big"]
    assert (place / "here/big").read_bytes() == data


def test_copies_wait_for_their_turn(new_box: Callable[..., Cli], place: Path) -> None:
    cli = new_box(MaxSessions=1)
    (place / "file").write_text("text")
    puts = [
        cli.start("put", cli.host, place / "file", f"{place}/host0/{n}/")
        for n in range(6)
    ]
    assert [one.status for one in finish(puts)] == [0] * 6
    assert [(place / f"host0/{n}/file").read_text() for n in range(6)] == ["text"] * 6
    assert cli.sshd is not None
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_python_copies_files(cli: Cli, there: Path, place: Path) -> None:
    (place / "up").write_text("text")
    code = (
        "import sys; from pathlib import Path; from sshjobs import Host, errors\n"
        "name, up, there, back = sys.argv[1:]\n"
        "host = Host(name)\n"
        "print(host.put(Path(up), there + '/'))\n"
        "job = host.submit('cp up other', cwd=there).wait()\n"
        "print(job.get('oth*', back + '/'), host.get([there + '/up'], back))\n"
        "try: job.get('none')\n"
        "except errors.CopyFailed as error: print(error)\n"
    )
    back = place / "back"
    argv: list[str | Path] = [
        sys.executable,
        "-c",
        code,
        cli.host,
        place / "up",
        there,
        back,
    ]
    done = subprocess.run(argv, env=cli.env, capture_output=True, text=True, cwd=TOP)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"['{there}/up']",
        f"[{back / 'other'!r}] [{back / 'up'!r}]",
        f"{cli.host}: none: no such file or directory, below {there}",
    ]
    assert (back / "other").read_text() == "text"
