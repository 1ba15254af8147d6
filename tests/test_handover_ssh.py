"""A crowd of submits that is handed over, on a host behind a real sshd."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli import Cli, eventually, finish
from tests.test_handover import RUN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract names")


def test_over_ssh_a_crowd_is_one_connection(cli: Cli) -> None:
    ran = cli.base.parent / "ran"
    words = ["submit", cli.host, "--", f"echo $SSHJOBS_JOB_ID >>{ran}"]
    argv = [sys.executable, "-c", RUN.replace("{more}", ""), *words]
    pipe = subprocess.PIPE
    ends = finish(
        [
            subprocess.Popen(argv, env=cli.env, stdout=pipe, stderr=pipe)
            for _ in range(16)
        ]
    )
    assert [end.status for end in ends] == [0] * 16, ends
    ids = sorted(end.out.strip() for end in ends)
    eventually(lambda: ran.exists() and len(ran.read_text().split()) >= 16, "all ran")
    assert sorted(ran.read_text().split()) == ids and len(set(ids)) == 16
    assert cli.hosts()["handshakes"] == 1
