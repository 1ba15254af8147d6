"""A job's log, its end and its directory on the host, by its row.

Pure functions over one :class:`~sshjobs.model.Job`: rounds plan with them, a reply is
applied with them, verbs show with them.
"""

from __future__ import annotations

from .. import states
from ..model import Job

#: The reason of a job that another machine of the host has, before the name of that.
RUNS_ON = "runs on "


def is_log_wanted(job: Job) -> bool:
    """Tell whether bytes of a job's log are to be brought here."""
    return job.reaped_at is None and not job.log_final and not is_log_full(job)


def is_log_full(job: Job) -> bool:
    """Tell whether as much of a job's log is here as is to be brought home."""
    # A limit of 0 is none.
    return 0 < job.max_log_bytes <= job.log_local_bytes


def is_log_cut(job: Job) -> bool:
    """Tell whether an ended job's log is longer on the host than here, for good."""
    final = states.is_final(job.state) and job.reaped_at is None
    return final and is_log_full(job) and not job.log_final


def is_rest_given_up(job: Job) -> bool:
    """Tell whether somebody has said that the rest of a log that was cut may go."""
    return is_log_full(job) and job.log_final and job.log_local_bytes < job.log_bytes


def count_bytes_left(job: Job) -> int:
    """Return how many bytes of a job's log are known to be on the host only."""
    if not is_log_wanted(job):
        return 0
    # log_bytes is the length of the last look; a running job has written more since.
    return min(job.log_bytes, job.max_log_bytes or job.log_bytes) - job.log_local_bytes


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
    if 0 < job.max_log_bytes < job.log_bytes:
        return False
    if job.cleanup == "on_success":
        return job.state == states.COMPLETED
    return job.cleanup == "always"
