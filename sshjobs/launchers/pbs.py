"""Jobs of a cluster that OpenPBS or Torque schedules: the job script is our runner.

Source: qsub(1B) of OpenPBS 23.06, and of Torque 6.1.2.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import Spec
from .options import Options, measure_limit, take_options

_OPTIONS = Options(
    "qsub",
    takes={"-h": 0} | dict.fromkeys("-a -A -l -m -M -p -P -q -W".split(), 1),
    refused={
        "-J": "submit each task as a job, with --from",
        "-t": "submit each task as a job, with --from",
        "-d": "use --cwd",
        "-w": "use --cwd",
        "-e": "the log has both",
        "-o": "the log has both; read it with sshjobs logs",
        "-j": "the log has both",
        "-k": "the log is sshjobs' own",
        "-N": "the name there is of the id; use --name",
        "-r": "a job runs once; use --key, and submit it again",
        "-c": "a job runs once; use --key, and submit it again",
        "-S": "use --shell",
        "-v": "use --env",
        "-V": "the environment of the login is there already",
        "-I": "a job has no terminal",
        "-X": "a job has no terminal",
        "-z": "sshjobs reads what qsub says",
        "-C": "the script is sshjobs' own",
    },
    orders=("depend=", "-Wdepend="),
    attached=True,
)


class PbsLauncher:
    """Hands jobs to qsub, and asks qstat about them."""

    name = "pbs"
    parts: tuple[str, ...] = ("pbs",)

    def check_spec(self, spec: Spec) -> None:
        """Refuse options that would break the contract with a job."""
        _OPTIONS.check(spec)
        for word in spec.launcher_args:
            if b"block=" in word:
                raise SpecError(
                    f"--launcher-args: {word!a} is refused: use sshjobs wait"
                )

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return ``-l walltime`` for a job with a limit, and then the job's own."""
        seconds = measure_limit(spec)
        limit = () if seconds is None else (b"-l", b"walltime=%d" % seconds)
        return limit + take_options(spec)
