"""A job's log, its end and its directory on the host, by its row.

Pure functions over one :class:`~sshjobs.model.Job`: rounds plan with them, a reply is
applied with them, verbs show with them.
"""

from __future__ import annotations

from .. import states
from ..model import STDERR, Job

#: A log comes in pieces of so many bytes, one in each round. Of one that has more than
#: so many left, a round brings these only: the rest has a session of its own
#: (:mod:`.log_transfer`).
LOG_PIECE_BYTES = 4 * 1024 * 1024
LONG = 2 * LOG_PIECE_BYTES
LONG_PIECE_BYTES = 64 * 1024

#: The reason of a job that another machine of the host has, before the name of that.
RUNS_ON = "runs on "


def view_log(job: Job, stream: str) -> Job:
    """Return a job as it would be if one of its two logs were all that it has.

    ``log_final`` stays true of both.
    """
    if job.stderr_bytes is None:
        return job
    if stream != STDERR:
        return job._replace(stderr_bytes=None, stderr_local_bytes=0)
    return job._replace(
        log_bytes=job.stderr_bytes,
        log_local_bytes=job.stderr_local_bytes,
        stderr_bytes=None,
        stderr_local_bytes=0,
    )


def has_known_bytes(job: Job) -> bool:
    """Tell whether all that is known to be written of a job's logs is here."""
    return job.log_local_bytes >= job.log_bytes and job.stderr_local_bytes >= (
        job.stderr_bytes or 0
    )


def count_bytes(job: Job) -> tuple[int, int]:
    """Return how many bytes of a job's logs are here, and are known to be written."""
    there = job.log_bytes + (job.stderr_bytes or 0)
    return job.log_local_bytes + job.stderr_local_bytes, there


def is_log_wanted(job: Job) -> bool:
    """Tell whether bytes of a job's log are to be brought here."""
    return job.reaped_at is None and not job.log_final and not is_log_full(job)


def is_log_full(job: Job) -> bool:
    """Tell whether as much of a job's log is here as is to be brought home."""
    most = job.max_log_bytes  # 0 is none
    if job.stderr_bytes is None or not most:
        return 0 < most <= job.log_local_bytes
    # Each of two logs has that limit; of one that is whole there is no more to bring.
    full = [here >= most for here in (job.log_local_bytes, job.stderr_local_bytes)]
    is_final = states.is_final(job.state)
    whole = (
        is_final and job.log_local_bytes >= job.log_bytes,
        is_final and job.stderr_local_bytes >= job.stderr_bytes,
    )
    return any(full) and all(map(max, full, whole))


def is_log_cut(job: Job) -> bool:
    """Tell whether an ended job's log is longer on the host than here, for good."""
    final = states.is_final(job.state) and job.reaped_at is None
    return final and is_log_full(job) and not job.log_final


def is_rest_given_up(job: Job) -> bool:
    """Tell whether somebody has said that the rest of a log that was cut may go."""
    return is_log_full(job) and job.log_final and not has_known_bytes(job)


def count_bytes_left(job: Job) -> int:
    """Return how many bytes of a job's log are known to be on the host only."""
    if not is_log_wanted(job):
        return 0
    # log_bytes is the length of the last look; a running job has written more since.
    most = job.max_log_bytes
    left = min(job.log_bytes, most or job.log_bytes) - job.log_local_bytes
    if job.stderr_bytes is not None:
        there = min(job.stderr_bytes, most or job.stderr_bytes)
        left += there - job.stderr_local_bytes
    return left


def is_log_home(job: Job | None) -> bool:
    """Tell whether a job is final and all of its log is on this machine."""
    if job is None or not states.is_final(job.state):
        return False
    # A reap takes the directory only once the host has the same checksums as we.
    return job.log_final or job.reaped_at is not None


def is_end_known(job: Job) -> bool:
    """Tell whether a host has said all of a job, the length of its log with it."""
    # LOST is a judgement from what is missing: no record there gave a length.
    return states.is_final(job.state) and job.state != states.LOST


def runs_elsewhere(job: Job) -> bool:
    """Tell whether the last round could not reach the machine that runs a job."""
    return not states.is_final(job.state) and job.reason.startswith(RUNS_ON)


def wants_cleanup(job: Job) -> bool:
    """Tell whether a job's own setting wants its directory gone now.

    It stays where its log does not come home whole.
    """
    # Bytes above the limit are on the host only: with the directory they would be lost.
    if 0 < job.max_log_bytes < max(job.log_bytes, job.stderr_bytes or 0):
        return False
    if job.cleanup == "on_success":
        return job.state == states.COMPLETED
    return job.cleanup == "always"
