"""What Slurm's accounts say of a job that it has no more, by a fake sacct."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request
from tests.clusters import make_tools
from tests.remote.host import Host, an_order, end_all, of

#: As sacct of Slurm 22.05 prints with -P: a step is a line too, unless -X is given. Of
#: a number that it does not know it says nothing, with status 0.
_SACCT = r"""#!/bin/sh
echo "$*" >>{folder}/asked
steps=1 head=1
while [ $# -gt 0 ]; do
    case $1 in
    -X) steps= ;;
    -n) head= ;;
    -P) ;;
    -S | -o) shift ;;
    -j) ids=,$2, && shift ;;
    *) echo "sacct: unrecognized option '$1'" >&2 && exit 1 ;;
    esac
    shift
done
[ -z "$head" ] || echo 'JobID|JobName|State|Partition|NodeList|Reason'
while IFS='|' read -r id rest; do
    case $ids in *,"$id",*) ;; *) continue ;; esac
    echo "$id|$rest"
    [ -z "$steps" ] || echo "$id.batch|batch|COMPLETED||n1|"
done <{folder}/accounts
"""

#: It takes a job, of which squeue says nothing any more.
_SBATCH = """#!/bin/sh
cat >/dev/null
echo $$
"""

#: Both succeed, and print nothing.
_SQUEUE = _SCANCEL = "#!/bin/sh\n"


@pytest.fixture(params=["gawk", "mawk", "original-awk", "busybox"])
def login_node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A login node of each awk, where accounts are kept."""
    fakes = {"sacct": _SACCT, "sbatch": _SBATCH, "squeue": _SQUEUE, "scancel": _SCANCEL}
    tools = make_tools(tmp_path, request.param, fakes)
    (tools / "accounts").touch()
    (tmp_path / "home").mkdir()
    host = Host(tmp_path / "home", f"{tools}:/usr/bin:/bin")
    yield host
    end_all(host)


def hand_over(host: Host, count: int) -> list[str]:
    """Hand jobs to Slurm that began on a node, and left nothing more of themselves."""
    starts = [an_order(b"true", launcher="slurm") for _ in range(count)]
    said = host.run(Request(starts=tuple(starts), launchers=("slurm",)))
    queued = {one.job_id for one in of(protocol.Queued, said)}
    assert queued == {start.job_id for start in starts}, said
    for start in starts:
        folder = host.jobs / start.job_id
        handle = folder / "handle"
        text = "".join(
            "sent_at=1000000000.00\n" if line.startswith("sent_at=") else line
            for line in handle.read_text().splitlines(keepends=True)
        )
        handle.write_text(text)
        (folder / "run").write_text(
            "machine=n1-1234\nboot_id=another\npid=7\nstart=7\nnode=n1\ninit=1\n"
            "attempt=1\nstarted_at=1000000000.00\npgid=8\n"
        )
    return [start.job_id for start in starts]


def keep_account(host: Host, job_id: str, line: str, name: str = "") -> None:
    """Have sacct know a job by its number: NAME|STATE|PARTITION|NODES|REASON."""
    lines = (host.jobs / job_id / "handle").read_text().splitlines()
    number = next(line[7:] for line in lines if line.startswith("handle="))
    accounts = Path(host.path.partition(":")[0]) / "accounts"
    with open(accounts, "a") as file:
        file.write(f"{number}|{name or 'sj-' + job_id}|{line}\n")


def look(host: Host, ids: list[str], grace: float) -> list[protocol.Event]:
    """Ask about jobs; one that Slurm has no more is lost after so many seconds."""
    checks = tuple(Check(job_id, 7, "7") for job_id in ids)
    request = Request(checks=checks, launchers=("slurm",), vanish_grace=grace)
    return host.run(request)


def read_ends(said: list[protocol.Event]) -> dict[str, tuple[str, str]]:
    """Return what ended by id: the cause, or "lost", and the reason."""
    ends = {one.job_id: (one.cause, one.reason) for one in of(protocol.Ended, said)}
    lost = {one.job_id: ("lost", one.reason) for one in of(protocol.Lost, said)}
    return ends | lost


def test_accounts_name_the_end_of_a_job_that_left_no_record(login_node: Host) -> None:
    """As the queue would, had it the job still; they are asked while the grace runs."""
    no_record = ", and it left no record of its end"
    accounts = {
        "CANCELLED by 0|main|n1|None": ("cancelled", "CANCELLED"),
        "TIMEOUT|main|n1|TimeLimit": ("timeout", "TIMEOUT (TimeLimit)"),
        "OUT_OF_MEMORY|main|n1|OutOfMemory": ("", "OUT_OF_MEMORY (OutOfMemory)"),
        "PREEMPTED|main|n1|None": ("", "PREEMPTED"),
        "FAILED|main|n1|None": ("lost", "FAILED" + no_record),
        "NODE_FAIL|main|n1|None": ("lost", "NODE_FAIL" + no_record),
        "COMPLETED|main|n1|None": ("lost", "COMPLETED" + no_record),
    }
    ids = hand_over(login_node, len(accounts))
    for job_id, line in zip(ids, accounts):
        keep_account(login_node, job_id, line)
    said = look(login_node, ids, 90.0)
    assert {one.job_id for one in of(protocol.Unseen, said)} == set(ids), said
    assert not read_ends(said)
    shown = {
        job_id: (cause, f"the accounts of Slurm say {text}")
        for job_id, (cause, text) in zip(ids, accounts.values())
    }
    assert read_ends(look(login_node, ids, 0.0)) == shown
    tools = Path(login_node.path.partition(":")[0])
    assert (tools / "asked").read_text().count("\n") == 1


def test_accounts_of_other_jobs_or_of_none_say_nothing(login_node: Host) -> None:
    """A number may come again after a crash of the controller; RUNNING is no end."""
    ids = hand_over(login_node, 4)
    keep_account(login_node, ids[0], "RUNNING|main|n1|None")
    keep_account(login_node, ids[1], "FAILED|main|n1|None", name="sj-aaaaaaaaaaaaaaaa")
    keep_account(login_node, ids[2], "FAILED|main|n1|None", name="train")
    assert not read_ends(look(login_node, ids, 90.0))
    why = "its scheduler has it no more, and it left no record of its end"
    assert read_ends(look(login_node, ids, 0.0)) == dict.fromkeys(ids, ("lost", why))
