"""``inv bench --compare REV``: what a start costs, in two revisions in turn.

Both run the same verbs in one sshd's care, each with a home and a base directory of its
own, one process after the other, so that a busy machine is busy for both. Processor
time is the median of many; where valgrind is there, instructions are counted as well,
which shows a difference of one per cent on the busiest machine.
"""

from __future__ import annotations

import compileall
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.ground import end_jobs
from tests.sshd import Sshd

ROOT = Path(__file__).parent.parent.parent

#: The verbs, by the name that a row has.
VERBS = {
    "list": ("list",),
    "submit": ("submit", "box", "--", "true"),
    "poll": ("poll", "--host", "box"),
}


class Tree(NamedTuple):
    """One of the two revisions: where its package is, and how it is run."""

    name: str
    top: Path
    env: dict[str, str]

    def argv(self, words: tuple[str, ...]) -> list[str]:
        """Return the command line of a verb."""
        script = self.top / "sshjobs" / "script" / "sshjobs"
        return [sys.executable, "-S", str(script), *words]


def compare_revision(folder: Path, user: str, revision: str, times: int) -> list[str]:
    """Return a line for each verb, of this tree against a revision.

    Args:
        folder: An empty directory, open to ``user``, with a short path.
        user: Who logs in.
        times: How many processes of each are run for a median.
    """
    then = folder / "then"
    archive = subprocess.check_output(
        ["git", "archive", "--format=tar", revision, "sshjobs"], cwd=ROOT
    )
    then.mkdir()
    subprocess.run(["tar", "-x", "-C", str(then)], input=archive, check=True)
    (folder / "sshd").mkdir(mode=0o755)
    lines = ["verb      figure        now     then    ratio"]
    with Sshd(folder / "sshd", user) as sshd, connect_trees(folder, sshd) as trees:
        for name, words in VERBS.items():
            costs = [[spend(tree, words) for tree in trees] for _ in range(times)]
            now, before = map(statistics.median, zip(*costs))
            lines.append(format_line(name, "ms of CPU", now * 1e3, before * 1e3))
            if shutil.which("valgrind"):
                now, before = (count_instructions(tree, words) for tree in trees)
                lines.append(format_line(name, "10^6 instr", now / 1e6, before / 1e6))
    return lines


@contextmanager
def connect_trees(folder: Path, sshd: Sshd) -> Iterator[list[Tree]]:
    """Yield this tree and the other, with cached code and open connections."""
    trees = []
    for name, top in (("now", ROOT), ("then", folder / "then")):
        compileall.compile_dir(top / "sshjobs", quiet=1)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "PYTHONPATH": str(top),
            "PYTHONHASHSEED": "0",
            "SSHJOBS_HOME": str(folder / f"home-{name}"),
            "SSHJOBS_SSH_CONFIG": str(sshd.config),
            "SSHJOBS_REMOTE_BASE_DIR": f"{folder}/far/{name}",
        }
        trees.append(Tree(name, top, env))
    (folder / "far").mkdir()
    (folder / "far").chmod(0o777)
    try:
        for tree in trees:
            # A job that runs meanwhile, so that a poll has something to ask about.
            spend(tree, ("submit", "box", "--timeout", "1h", "--", "sleep", "3600"))
            spend(tree, ("submit", "box", "--", "true"))
            spend(tree, ("poll", "--host", "box"))
        yield trees
    finally:
        for tree in trees:
            for words in (("kill", "--host", "box"), ("disconnect", "box")):
                subprocess.run(
                    tree.argv(words),
                    env=tree.env,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            end_jobs(folder / "far" / tree.name)  # another tree may know no such words


def spend(tree: Tree, words: tuple[str, ...]) -> float:
    """Run a verb; return the processor time of its process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(tree.argv(words), env=tree.env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


def count_instructions(tree: Tree, words: tuple[str, ...]) -> int:
    """Run a verb; return how many instructions its process took, its children apart."""
    tool = ("valgrind", "--tool=cachegrind", "--cache-sim=no")
    done = subprocess.run(
        [*tool, "--cachegrind-out-file=/dev/null", *tree.argv(words)],
        env=tree.env,
        check=True,
        capture_output=True,
        text=True,
    )
    (count,) = re.findall(r"I\s+refs:\s+([\d,]+)", done.stderr)
    return int(count.replace(",", ""))


def format_line(verb: str, figure: str, now: float, then: float) -> str:
    return f"{verb:<9} {figure:<11} {now:>7.1f}  {then:>7.1f}  {now / then:>6.3f}"
