"""``python -m tests.bench``: sshjobs and its peers, on one sshd, in one run.

It reports and asserts nothing: times are those of the machine. A peer that is not
there is left out, and that is said.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import picture, report
from tests.bench.compare import compare_revision
from tests.bench.ground import RARER_PEERS, ROOT, Broken, Ground, versions
from tests.bench.workloads import WORKLOADS
from tests.sshd import sshd_path

_AIRFLOW = "apache-airflow-providers-ssh"
_PEERS = ("fabric", "parallel-ssh", "asyncssh")


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(WORKLOADS))
    parser.add_argument("--quick", action="store_true", help="small numbers, once")
    parser.add_argument("--compare", metavar="REV", help="a start, against a revision")
    parser.add_argument("--times", type=int, default=5, help="what medians are of")
    parser.add_argument("--out", type=Path, help="write this page, and an SVG by it")
    parser.add_argument(
        "--airflow-python",
        default=os.environ.get("BENCH_AIRFLOW_PYTHON", ""),
        help=f"an interpreter that has {_AIRFLOW}",
    )
    parser.add_argument(
        "--peers-python",
        default=os.environ.get("BENCH_PEERS_PYTHON", sys.executable),
        help=f"an interpreter that has {', '.join(_PEERS)}",
    )
    parser.add_argument(
        "--omnirun-python",
        default=os.environ.get("BENCH_OMNIRUN_PYTHON", ""),
        help="an interpreter, 3.12 or newer, that has omnirun",
    )
    return parser.parse_args(words)


def _login() -> str:
    """Return who logs in: an ordinary user where we are root, else ourselves.

    "" if there is no such user.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    named = os.environ.get("SSHJOBS_TEST_USER", "tester")
    return named if any(user.pw_name == named for user in pwd.getpwall()) else ""


def _missing() -> str:
    """Return what is not there and how to get it, "" if all is."""
    if not sshd_path():
        return "no sshd here: apt-get install openssh-server"
    if not _login():
        return (
            "no user to log in as: name an ordinary one with SSHJOBS_TEST_USER, or "
            "make one: useradd --create-home tester"
        )
    return ""


def _first_line(*words: str) -> str:
    """Return the first line that a command prints."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace").partition("\n")[0].strip()


def main(words: Sequence[str] | None = None) -> int:
    """Run the workloads that were chosen; print the table; write the page."""
    options = _options(words)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if missing := _missing():
        print(f"nothing was measured: {missing}", file=sys.stderr)
        return 1
    compileall.compile_dir(ROOT / "sshjobs", quiet=1)
    signal.signal(signal.SIGTERM, _told_to_end)
    folder = Path(tempfile.mkdtemp(prefix="sb", dir="/tmp"))
    folder.chmod(0o755)
    if options.compare:
        return _compare(options, folder)
    about = _about(options)
    found = report.Results()
    ground: Ground | None = None
    try:
        ground = _ground(options, folder)
        for name in options.only or WORKLOADS:
            print(f"# {name}", flush=True)
            try:
                WORKLOADS[name](ground, found)
            except Broken as error:
                ground.note(f"{name} is not whole: {error}")
    finally:
        if ground is not None:
            ground.close()
        shutil.rmtree(folder, ignore_errors=True)
    _show(found, about + ground.notes, options.out)
    return 0


def _compare(options: argparse.Namespace, folder: Path) -> int:
    """Print what a start costs in a revision and in this tree."""
    times = 3 if options.quick else max(20, options.times)
    try:
        for line in compare_revision(folder, _login(), options.compare, times):
            print(line)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _told_to_end(*_: object) -> None:
    """End as after an interrupt, so that nothing is left behind."""
    raise KeyboardInterrupt


def _ground(options: argparse.Namespace, folder: Path) -> Ground:
    """Return the ground, with the contenders that are there."""
    airflow, peers = options.airflow_python, options.peers_python
    has_airflow = bool(versions(airflow, [_AIRFLOW]))
    has_peers = len(versions(peers, _PEERS)) == len(_PEERS)
    has_omnirun = bool(versions(options.omnirun_python, ["omnirun"]))
    pythons = {"airflow": airflow} if has_airflow else {}
    pythons |= {"peers": peers} if has_peers else {}
    pythons |= {"omnirun": options.omnirun_python} if has_omnirun else {}
    ground = Ground(
        folder,
        _login(),
        pythons,
        options.quick,
        options.times,
    )
    if not has_airflow:
        ground.note(f"left out: Airflow (--airflow-python, with {_AIRFLOW})")
    if not has_peers:
        ground.note(f"left out: {', '.join(_PEERS)} (--peers-python)")
    if not has_omnirun:
        ground.note("left out: omnirun (--omnirun-python)")
    if not ground.parallel:
        ground.note("left out: GNU parallel (apt-get install parallel)")
    return ground


def _about(options: argparse.Namespace) -> list[str]:
    """Return what the figures rest on: the machine and every version."""
    lines = [
        f"{os.cpu_count()} processors, {_system()}, "
        f"Python {platform.python_version()}",
        f"client and server: {_first_line('ssh', '-V')}",
    ]
    known = versions(options.peers_python, [*_PEERS, *RARER_PEERS])
    known |= versions(options.omnirun_python, ["omnirun"])
    known |= versions(options.airflow_python, [_AIRFLOW, "apache-airflow-core"])
    if shutil.which("parallel"):
        known["GNU parallel"] = _first_line("parallel", "--version").split()[-1]
    lines.append("; ".join(f"{name} {number}" for name, number in known.items()))
    if options.quick:
        lines.append("--quick: small numbers, one repetition; nothing to rely on")
    else:
        lines.append(f"medians of {options.times}, where it was repeated")
    return lines


def _system() -> str:
    """Return the kernel's name and version, without what one maker adds to it."""
    release = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {release} ({platform.machine()})"


def _show(found: report.Results, about: Sequence[str], out: Path | None) -> None:
    print(report.table(found.rows))
    for target in found.targets:
        print(target.line())
    if out is None:
        return
    drawing = out.with_suffix(".svg")
    if found.curves:
        drawing.write_text(picture.draw(found.curves))
    out.write_text(report.page(found, about, drawing.name if drawing.exists() else ""))


if __name__ == "__main__":
    sys.exit(main())
