"""Jobs of a cluster that LSF schedules: the job script is our runner.

Source: bsub(1) of IBM Spectrum LSF 10.1.
"""

from __future__ import annotations

from ..model import Spec
from .options import Options, measure_limit, take_options

_OPTIONS = Options(
    "bsub",
    takes={
        **dict.fromkeys("-B -H -N -hl -ti -x".split(), 0),
        **dict.fromkeys("-a -app -b -c -C -D -F -g -G -gpu -m -M -n -p -P".split(), 1),
        **dict.fromkeys("-q -R -S -sla -sp -t -T -u -U -v -w -W -We".split(), 1),
    },
    refused={
        "-J": "the name there is sj-ID; use --name, and --from for many",
        "-cwd": "use --cwd",
        "-o": "the log has both; read it with sshjobs logs",
        "-oo": "the log has both; read it with sshjobs logs",
        "-e": "the log has both",
        "-eo": "the log has both",
        "-i": "use --stdin",
        "-is": "use --stdin",
        "-r": "a job runs once; use --key, and submit it again",
        "-rn": "it is given already",
        "-k": "a job runs once; use --key, and submit it again",
        "-L": "use --shell",
        "-env": "use --env",
        "-K": "use sshjobs wait",
        "-I": "a job has no terminal",
        "-Is": "a job has no terminal",
        "-Ip": "a job has no terminal",
        "-Zs": "the script is sshjobs' own",
    },
    orders=("-w", "-ti"),
)


class LsfLauncher:
    """Hands jobs to bsub, and asks bjobs about them."""

    name = "lsf"
    parts: tuple[str, ...] = ("lsf",)

    def check_spec(self, spec: Spec) -> None:
        """Refuse options that would break the contract with a job."""
        _OPTIONS.check(spec)

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return ``-W`` in minutes for a job with a limit, and then its own options."""
        minutes = measure_limit(spec, unit=60)
        limit = () if minutes is None else (b"-W", b"%d" % minutes)
        return limit + take_options(spec)
