"""Jobs of a cluster that Grid Engine schedules: the job script is our runner.

Source: qsub(1) of SGE 8.1.9.
"""

from __future__ import annotations

from ..model import Spec
from .options import Options, measure_limit, take_options

_OPTIONS = Options(
    "qsub",
    takes={
        **dict.fromkeys(("-h", "-hard", "-soft"), 0),
        **dict.fromkeys("-a -A -ar -binding -dl -hold_jid -js -jsv".split(), 1),
        **dict.fromkeys("-l -m -M -masterq -p -P -q -R -w".split(), 1),
        "-pe": 2,
    },
    refused={
        "-t": "submit each task as a job, with --from",
        "-cwd": "use --cwd",
        "-wd": "use --cwd",
        "-e": "the log has both",
        "-o": "the log has both; read it with sshjobs logs",
        "-j": "the log has both",
        "-i": "use --stdin",
        "-N": "the name there is sj-ID; use --name",
        "-r": "a job runs once; use --key, and submit it again",
        "-ckpt": "a job runs once; use --key, and submit it again",
        "-S": "use --shell",
        "-v": "use --env",
        "-V": "the environment of the login is there already",
        "-notify": "it is given already",
        "-sync": "use sshjobs wait",
        "-now": "sshjobs wait waits for a job's end",
        "-b": "put the command after --",
        "-verify": "nothing would run",
        "-help": "nothing would run",
    },
    orders=("-hold_jid",),
)


class SgeLauncher:
    """Hands jobs to qsub, and asks qstat about them."""

    name = "sge"
    parts: tuple[str, ...] = ("sge",)

    def check_spec(self, spec: Spec) -> None:
        """Refuse options that would break the contract with a job."""
        _OPTIONS.check(spec)

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return ``-l h_rt`` for a job with a limit, and then the job's own options."""
        seconds = measure_limit(spec)
        limit = () if seconds is None else (b"-l", b"h_rt=%d" % seconds)
        return limit + take_options(spec)
