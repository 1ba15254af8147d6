"""The examples of the pages, run as they are printed, against a real sshd.

Airflow's are in tests/airflow/test_docs.py, cron's in tests/test_cron.py.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli import drop_waiting_words, end_jobs, eventually
from tests.pages import TOP, read_blocks
from tests.sshd import Sshd

BIN = Path(sys.executable).parent
#: All names that the pages have for a host; here they are one.
HOSTS = "gpu1 gpu2 cluster build1 web1"

# What the pages take to be on the host: the programs of a user's own.
_SAYS = '#!/bin/sh\necho "${0##*/}: $*"\n'
_LOAD = '#!/bin/sh\necho "load $* ${DB_PASSWORD:+with a password}"\n'
_ON_HOST = {
    "train.sh": _SAYS,
    "run7/train.sh": _SAYS,
    "exp7/train.sh": _SAYS,
    "part.sh": _SAYS,
    "update.sh": _SAYS,
    "bin/nvidia-smi": "#!/bin/sh\nseq 8\n",
    "step.sh": _SAYS,
    "nightly.sh": _SAYS,
    "load.sh": _LOAD,
    "app/Makefile": "release:\n\t@echo made in $(CURDIR)\n",
    "bin/make": '#!/bin/sh\necho "make $* in $PWD"\n',
    "bin/sudo": _SAYS,
    "bin/sleep": "#!/bin/sh\nexec /bin/sleep 0.1\n",
}
_HERE = {
    "bin/pass": "#!/bin/sh\necho swordfish\n",
    "bin/mail": '#!/bin/sh\n{ echo "mail $*"; cat; } >>~/mails\n',
}


def ids(said: str) -> list[str]:
    """Return the ids among what was printed, which may have remarks beside them."""
    return re.findall("(?m)^[a-z2-7]{16}$", said)


class Reader:
    """Somebody who types what the pages say: a home here, and one on the host."""

    def __init__(self, place: Path, sshd: Sshd) -> None:
        self.sshd = sshd
        self.home = place / "me"
        self.there = place / "there"
        sshd.alias = HOSTS
        _write(self.there, _ON_HOST)
        _write(self.home, _HERE)
        login = pwd.getpwnam(sshd.user)
        for path in (self.there, *self.there.rglob("*")):
            os.chown(path, login.pw_uid, login.pw_gid)
        (self.home / "project").mkdir()
        config = sshd.write_client_config()
        shutil.copy(config, self.home / "project/ssh_config")
        kept = {n: v for n, v in os.environ.items() if not n.startswith("SSHJOBS_")}
        self.env = kept | {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{BIN}:{kept.get('PATH', os.defpath)}",
            "SSHJOBS_HOME": str(place / "record"),
            "SSHJOBS_SSH_CONFIG": str(config),
            "PYTHONUNBUFFERED": "1",  # as in many a container
        }

    def types(self, text: str, status: int = 0) -> str:
        """Run lines as a script; return what was printed."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=self.home,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        said = drop_waiting_words(done.stdout.decode())
        assert done.returncode == status, f"{text}\n{said}"
        return said


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def reader(new_sshd: Callable[..., Sshd], place: Path) -> Iterator[Reader]:
    home = place / "there"
    sshd = new_sshd(
        SetEnv=f"HOME={home} PATH={home}/bin:/usr/bin:/bin",
        Subsystem=f"sftp internal-sftp -d {home}",
    )
    made = Reader(place, sshd)
    yield made
    made.types("sshjobs disconnect gpu1")
    end_jobs(home / ".sshjobs")


def test_the_tutorial(reader: Reader) -> None:
    install, one, vector, detached, many, crowd, script, tidy = read_blocks(
        "docs/tutorial.md"
    )
    # Installing is a test of its own; here is the environment that it would make.
    (reader.home / ".venv").mkdir()
    (reader.home / ".venv/bin").symlink_to(BIN)
    _, *steps = install.splitlines(keepends=True)
    assert "sshjobs doctor gpu1" in steps[-1]
    reader.types("".join(steps))
    said = reader.types(one).splitlines()
    assert said[1].startswith("hello from ") and said[2:] == ["done", "0"]
    assert "no $expansion\nit's fine\n" in reader.types(vector)
    assert reader.types(detached).splitlines()[-9:] == [str(n) for n in range(1, 10)]
    assert len(ids(reader.types(many))) >= 40
    assert len(set(ids(reader.types(crowd)))) == 40
    (reader.home / "nightly.sh").write_text(script)
    (reader.home / "nightly.sh").chmod(0o755)
    (reader.there / "nightly.sh").unlink()  # the page makes none there
    assert f"disks of {os.uname().nodename}:\n" in reader.types("./nightly.sh")
    reader.types("sshjobs wait")
    reader.types(tidy)
    assert not list((reader.there / ".sshjobs/jobs").iterdir())
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_the_tour_of_the_readme(reader: Reader) -> None:
    (reader.home / "jobs.txt").write_text("echo 1\nexit 2\n")
    [tour] = read_blocks("README.md", "console")
    lines = [line[2:] for line in tour.splitlines() if line.startswith("$ ")]
    assert len(lines) == 16
    said = {}
    for line in lines:
        words = line.partition("  ")[0]
        if words == "sshjobs top":  # wants a terminal, and a key that ends it
            line = "(sleep 2; printf q) | script -qec 'sshjobs top' /dev/null"
        if words == "sshjobs logs sweep --state FAILED --tail 5":
            reader.types("sshjobs wait sweep || true")  # a reader is not as fast
        said[words] = reader.types(line)
    assert said["sshjobs logs train --follow"] == "train.sh: \n"
    assert "make all in " in said["sshjobs run gpu1 -- make all"]
    assert len(ids(said["sshjobs submit gpu1 --from jobs.txt --name sweep"])) == 2
    sorted_there = said["sshjobs run gpu1 --split -- ls -l | sort -nrk5"]
    assert " run7\n" in sorted_there
    both = said["sshjobs run gpu1,gpu2 -- uptime"]
    assert "gpu1 │ " in both and "gpu2 │ " in both
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)  # both are one


def test_readme_takes_a_file_there_and_its_result_back(reader: Reader) -> None:
    """End line 5: README alone, as it is printed."""
    (reader.home / "train.sh").write_text("#!/bin/sh\necho trained in ${PWD##*/}\n")
    (reader.home / "train.sh").chmod(0o755)
    program = read_blocks("README.md", "python")[0]
    (reader.home / "program.py").write_text(program)
    assert reader.types("python program.py") == "COMPLETED\n"
    result = reader.home / "results/result.txt"
    assert result.read_text() == "trained in run8\n"
    result.unlink()
    said = reader.types(read_blocks("README.md")[-1])
    assert result.read_text() == "trained in run8\n"
    assert said == "sshjobs: report.html: 1 job, 0 ended badly\n"
    assert "eight" in (reader.home / "report.html").read_text("utf-8")
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_how_to_configure(reader: Reader, place: Path) -> None:
    [lines] = read_blocks("docs/how-to/configure.md")
    [config] = read_blocks("docs/how-to/configure.md", "toml")
    reader.types(lines)
    base = f"{reader.there}/scratch"
    text = config.replace("/scratch/me/sshjobs", base)
    (place / "config.toml").write_text(text)
    reader.env["SSHJOBS_CONFIG"] = str(place / "config.toml")
    job = reader.types("sshjobs submit cluster -- true").strip()
    assert job in reader.types(f"sshjobs wait {job}")
    reader.types("sshjobs poll --host cluster")
    assert os.path.isdir(f"{base}/jobs")
    assert not os.path.exists(f"{base}/jobs/{job}")  # cleanup = "on_success"


def test_how_to_fan_out(reader: Reader) -> None:
    from_file, crowd, _, batch = read_blocks("docs/how-to/fan-out.md")
    [jobs] = read_blocks("docs/how-to/fan-out.md", "json")
    (reader.home / "jobs.jsonl").write_text(jobs)
    first, second = ids(reader.types(from_file))
    reader.types("sshjobs wait")
    assert reader.types(f"sshjobs logs {first}") == "train.sh: --seed 1\n"
    assert reader.types(f"sshjobs logs {second}") == "train.sh: --seed 2\n"
    reader.types("sshjobs submit gpu1 --name seed-0 -- 'echo loss nan; false'")
    wait, follow, search, logs, kill = batch.splitlines()
    reader.types(wait, status=1)
    assert "train.sh: --seed 1\n" in reader.types(follow)
    assert reader.types(search).endswith("seed-0 │ loss nan\n")
    assert "loss nan\n" in reader.types(logs)
    reader.types(kill)
    assert len(set(ids(reader.types(crowd)))) == 120
    reader.types("sshjobs wait")
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_how_to_run_on_many_hosts(reader: Reader) -> None:
    """As printed, with gpu2 out of reach for the first line."""
    hosts = read_blocks("docs/how-to/fan-out.md")[2].splitlines()
    [said] = read_blocks("docs/how-to/fan-out.md", "text")
    config = Path(reader.env["SSHJOBS_SSH_CONFIG"])
    there = config.read_text()
    assert reader.sshd.alias == HOSTS
    down = there.replace(f"Host {HOSTS}", "Host gpu2\n    Port 1\n\nHost gpu*")
    config.write_text(down)
    reader.env["SSHJOBS_WAIT_HOST"] = "1"
    printed = reader.types(hosts[0], status=69).splitlines()
    assert set(said.splitlines()) <= set(printed)  # in the order in which they come
    config.write_text(there.replace(f"Host {HOSTS}", "Host gpu*"))
    reader.types("sshjobs disconnect gpu2")
    (reader.home / "hosts.txt").write_text("gpu1\n# mended\ngpu3\n")
    assert "gpu3 │ " in reader.types(hosts[1])
    assert reader.types(hosts[2]).count(" gpu") == 2
    assert reader.types(hosts[3]).count("update.sh: \n") == 2


def test_how_to_be_told_of_ends(reader: Reader, place: Path) -> None:
    [submit] = read_blocks("docs/how-to/notify.md")
    [config] = read_blocks("docs/how-to/notify.md", "toml")
    [crontab] = read_blocks("docs/how-to/notify.md", "text")
    reader.types(submit)
    eventually(lambda: not reader.types("sshjobs poll --allow-empty --quiet"))
    mails = reader.home / "mails"
    eventually(lambda: mails.exists() and mails.read_text().count("\n") == 2)
    first, told = mails.read_text().splitlines()
    assert first == "mail -s train has ended me@example.org"
    assert '"name": "train"' in told
    (place / "config.toml").write_text(config)
    reader.env["SSHJOBS_CONFIG"] = str(place / "config.toml")
    reader.types("sshjobs submit gpu1 --name seven -- true")

    def is_told() -> bool:
        reader.types(crontab.removeprefix("*/5 * * * * "))
        return len(mails.read_text().splitlines()) == 4

    eventually(is_told)
    assert "mail -s a job has ended me@example.org\n" in mails.read_text()


def test_how_to_use_one_time_codes(reader: Reader) -> None:
    first, for_long = read_blocks("docs/how-to/one-time-codes.md")
    reader.types(first)
    reader.types("sshjobs run cluster -- true")
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)
    assert "cluster" in reader.types(for_long)


def test_how_to_run_once(reader: Reader) -> None:
    submit, wait = read_blocks("docs/how-to/run-once.md")
    assert reader.types(submit) == reader.types(submit)
    reader.types(wait)
    key = "key:load/2026-05-01"
    assert reader.types(f"sshjobs logs {key}") == "load 2026-05-01 \n"


def test_how_to_keep_secrets(reader: Reader) -> None:
    [lines] = read_blocks("docs/how-to/secrets.md")
    job = reader.types(lines).strip()
    reader.types("sshjobs wait")
    assert reader.types(f"sshjobs logs {job}") == "load  with a password\n"
    for folder in (reader.there, Path(reader.env["SSHJOBS_HOME"])):
        found = subprocess.run(["grep", "-rls", "swordfish", folder], stdout=-1)
        assert found.stdout == b""


def test_how_to_tidy_up(reader: Reader) -> None:
    [lines] = read_blocks("docs/how-to/tidy-up.md")
    job, swept = (
        reader.types(f"sshjobs submit gpu1 --name {name} -- true").strip()
        for name in ("kept", "sweep-1")
    )
    reader.types("sshjobs wait")
    reader.types(lines)
    assert (reader.there / f".sshjobs/jobs/{job}").exists()  # not a week old
    assert not (reader.there / f".sshjobs/jobs/{swept}").exists()


def test_how_to_have_the_host_tidy_up(reader: Reader) -> None:
    """The line for systemd-tmpfiles is what the command beside it prints."""
    page = (TOP / "docs/how-to/cron.md").read_text("utf-8")
    [command] = re.findall(r"`(sshjobs reap --tmpfiles [^`]*)`", page)
    assert reader.types(command) in read_blocks("docs/how-to/cron.md", "text")


def test_how_to_have_other_programs_on_the_connection(
    reader: Reader, place: Path
) -> None:
    # sshd starts a session in the home that the account has, not in the reader's.
    there = f"gpu1:{reader.there}/"
    lines = [
        text.replace("gpu1:", there)
        for text in read_blocks("docs/how-to/other-programs.md")
    ]
    for name in ("results", "bin"):
        (reader.home / name).mkdir(exist_ok=True)
    (reader.home / "results/table.csv").write_text("1,2\n")
    for name in ("sshjobs", "sshjobs-ssh"):  # as they are installed
        shutil.copy(TOP / "sshjobs/script" / name, reader.home / "bin")
    script = f'#!/bin/sh\nexec {sys.executable} -m sshjobs "$@"\n'
    (reader.home / "bin/sshjobs").write_text(script)
    project = reader.there / "tool.git"
    reader.types(
        f"git init -q {project}; git -C {project} -c user.name=a -c user.email=a@b "
        "commit -q --allow-empty -m x"
    )
    login = pwd.getpwnam(reader.sshd.user)
    for path in (project, *project.rglob("*")):
        os.chown(path, login.pw_uid, login.pw_gid)
    assert " up " in reader.types(lines[0])
    assert (reader.home / "back/table.csv").read_text() == "1,2\n"
    reader.types(lines[1])
    assert (reader.home / "tool/.git").exists()
    reader.types(lines[2])
    assert (reader.home / "table2.csv").read_text() == "1,2\n"
    [config] = read_blocks("docs/how-to/other-programs.md", "ini")
    ours = f"{reader.home}/bin/sshjobs-ssh"
    (reader.home / "ansible.cfg").write_text(
        config.replace("/path/to/sshjobs-ssh", ours)
    )
    assert "gpu1 | CHANGED" in reader.types("ansible all -i gpu1, -m command -a uptime")
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_the_questions_of_the_first_day(reader: Reader) -> None:
    unbuffered, directory, files, back, in_turn = read_blocks("docs/faq.md")
    assert reader.types(unbuffered).count("train.sh: \n") == 2
    assert reader.types(directory).count("train.sh: \n") == 2
    reader.types(files)
    reader.types(
        "sshjobs submit gpu1 --name report -- 'mkdir out; echo 1,2 >out/a.csv'"
    )
    reader.types("sshjobs wait report")
    reader.types(back)
    assert (reader.home / "results/a.csv").read_text() == "1,2\n"
    reader.types(in_turn)
    reader.types("sshjobs wait sweep")
    assert reader.types("sshjobs logs sweep").count("part.sh: ") == 20
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_how_to_complete_words(reader: Reader) -> None:
    """As printed; tests/test_completion.py drives the shells with it."""
    switched_on, kept = read_blocks("docs/how-to/completion.md")
    shared = "/usr/local/share/zsh/site-functions"
    folders = [".config/fish/completions", ".local/share/bash-completion/completions"]
    for name in (*folders, "functions"):
        (reader.home / name).mkdir(parents=True)
    reader.types(switched_on)
    reader.types(kept.replace(shared, f"{reader.home}/functions"))
    assert reader.types("bash -ic 'complete -p sshjobs'").endswith(" sshjobs\n")
    names = (
        f"{folders[0]}/sshjobs.fish",
        f"{folders[1]}/sshjobs",
        "functions/_sshjobs",
    )
    assert all("completion" in (reader.home / name).read_text() for name in names)


def test_how_to_copy_files(reader: Reader) -> None:
    there_and_back, renamed = read_blocks("docs/how-to/files.md")
    (reader.home / "project/data").write_text("one\ntwo\n")
    assert " data\n" in reader.types(there_and_back)
    reader.types(renamed)
    there = reader.there / "runs/8/project/out/sizes.csv"
    assert (reader.home / "lines.csv").read_text() == there.read_text()
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_how_to_show_a_batch(reader: Reader) -> None:
    [lines] = read_blocks("docs/how-to/report.md")
    reader.types("for n in 1 2 3; do sshjobs submit gpu1 --name sweep-$n -- true; done")
    assert "sweep.html: 3 jobs, 0 ended badly" in reader.types(lines)
    assert (reader.home / "today.svg").read_text().startswith("<?xml")


def test_how_to_use_python(reader: Reader, place: Path) -> None:
    """Each block as a program of its own, as it is printed, in their order."""
    programs = read_blocks("docs/how-to/python.md", "python")
    said = []
    for number, text in enumerate(programs):
        (reader.home / f"program{number}.py").write_text(text)
        said.append(reader.types(f"python program{number}.py"))
        if number == 3:
            (reader.there / "train.sh").write_text("#!/bin/sh\nexit 3\n")
            reader.types("sshjobs run gpu1 --name bad -- ./train.sh", status=3)
    follow, run, many, files, later = said
    [line] = files.splitlines()
    assert line.startswith("results/sizes.csv ") and not line.endswith(" 0")
    assert follow.splitlines()[1:] == ["train.sh: "]
    assert run == "Linux\nended with 3\n"
    assert many == "200 jobs have ended\n"
    assert " bad 3 " in later and later.endswith("COMPLETED\nCOMPLETED\n")
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


def test_the_programs_of_the_pages_have_their_types(place: Path) -> None:
    """mypy --strict on each Python block of the pages on the API."""
    pages = ("docs/how-to/python.md", "docs/how-to/invoke.md")
    programs = [text for page in pages for text in read_blocks(page, "python")]
    for number, text in enumerate(programs):
        (place / f"program{number}.py").write_text(text)
        (place / f"program{number}.py").chmod(0o644)
    files = sorted(place.glob("program*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *files],
        cwd=TOP,
        stdout=-1,
    )
    assert done.returncode == 0, done.stdout.decode()


def test_how_to_use_invoke(reader: Reader) -> None:
    """Each tasks.py of the page, as a project's own."""
    both, own, api = read_blocks("docs/how-to/invoke.md", "python")
    [lines] = read_blocks("docs/how-to/invoke.md")
    (reader.home / "tasks.py").write_text(both)
    listed = reader.types("inv -l")
    assert " deploy " in listed and " jobs.submit " in listed
    said = reader.types("inv deploy")
    assert f"make release in {reader.there}/app" in said
    assert "sudo: systemctl restart app" in said
    assert "exp7" in reader.types(lines)
    assert reader.types("sshjobs logs key:exp7") == "train.sh: \n"
    reader.types("inv jobs.run --host gpu1 --command 'exit 7'", status=7)

    (reader.home / "tasks.py").write_text(own)
    for _ in range(2):  # the second finds what the first has done
        said = reader.types("inv sweep --seeds 3")
    assert said.count("COMPLETED") == 3
    jobs = reader.types("sshjobs list").count("sweep/")
    assert jobs == 3
    assert reader.types("sshjobs logs key:sweep/2") == "train.sh: --seed 2\n"

    (reader.home / "tasks.py").write_text(api)
    said = reader.types("inv compare --seeds 2")
    assert "compare/0 COMPLETED\ntrain.sh: --seed 0\n" in said
    assert "compare/1 COMPLETED\ntrain.sh: --seed 1\n" in said
    (reader.there / "train.sh").write_text("#!/bin/sh\nexit 3\n")
    assert "compare/2 FAILED" in reader.types("inv compare --seeds 3", status=1)
    assert (reader.sshd.connections, reader.sshd.drops) == (1, 0)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_installing(reader: Reader, place: Path) -> None:
    """README's first line and the tutorial's, in a copy of this checkout.

    README's other line is what .ci/run runs, word for word.
    """
    demo, *_ = read_blocks("README.md")
    install = read_blocks("docs/tutorial.md")[0]
    [for_airflow] = read_blocks("docs/how-to/airflow.md")
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__")
    shutil.copytree(TOP, place / "checkout", ignore=ignored)
    reader.types(f"cd {place}/checkout\n{install}\nsshjobs run gpu1 -- ./train.sh")
    assert (place / "checkout/.venv/bin/sshjobs").exists()
    assert "all of it is gone again" in reader.types(f"cd {place}/checkout\n{demo}")
    reader.types(f"cd {place}/checkout\nPATH=$PWD/.venv/bin:$PATH\n{for_airflow}")
