"""Jobs of a cluster that Slurm schedules: the batch script is our runner.

Source: sbatch(1) of Slurm 22.05. Ours stand before a job's own, which win; those that
would take the script, the name or the log out of the runner's hands are refused.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import Spec
from .before import check_after, count_own
from .options import measure_limit, take_options

#: What is refused, and what to do in its place. Any may be shortened (getopt_long).
_REFUSED = {
    "--array": "submit each task as a job, with --from",
    "--chdir": "use --cwd",
    "--clusters": "set SLURM_CLUSTERS on the host",
    "--error": "the log has both",
    "--export": "use --env",
    "--export-file": "use --env-from",
    "--get-user-env": "use --env",
    "--input": "use --stdin",
    "--job-name": "the name there is sj-ID; use --name",
    "--open-mode": "the log is sshjobs' own",
    "--output": "the log has both; read it with sshjobs logs",
    "--parsable": "sshjobs reads what sbatch says",
    "--requeue": "a job runs once; use --key, and submit it again",
    "--test-only": "nothing would run",
    "--uid": "log in as that user",
    "--wait": "use sshjobs wait",
    "--wrap": "put the command after --",
}

#: The letters of those above (sbatch(1)), and of --help and --version.
_LETTERS = dict(
    zip(
        "aDMeiJoWhV",
        (
            *("--array", "--chdir", "--clusters", "--error", "--input"),
            *("--job-name", "--output", "--wait", "--help", "--version"),
        ),
    )
)


class SlurmLauncher:
    """Hands jobs to sbatch, and asks squeue about them."""

    name = "slurm"
    parts: tuple[str, ...] = ("slurm",)

    def check_spec(self, spec: Spec) -> None:
        """Refuse options that would break the contract with a job.

        Raises:
            SpecError: the message names the option, and what to use in its place.
        """
        check_after(spec)
        own = count_own(spec)
        is_after = any(word.startswith(b"after=") for word in spec.launcher_args[:own])
        may_follow = False  # a word without a dash is the value of the option before it
        for word in spec.launcher_args[own:]:
            text = word.decode("utf-8", "replace")
            if not text.isprintable() or not text:
                raise SpecError(f"--launcher-args: not an option of sbatch: {text!a}")
            if not text.startswith("-"):
                if not may_follow:
                    raise SpecError(
                        f"--launcher-args: {text!r} stands behind no option that could "
                        "take it; sbatch would run it as its script"
                    )
                may_follow = False
                continue
            _check_option(text)
            if is_after and (text[:2] == "-d" or text[:4] == "--de"):
                raise SpecError(f"--launcher-args: {text!r} does not go with --after")
            may_follow = len(text) == 2 or (text[:2] == "--" and "=" not in text)

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return ``--time`` in minutes for a job with a limit, and its own options."""
        minutes = measure_limit(spec, unit=60)
        limit = () if minutes is None else (b"--time=%d" % minutes,)
        return limit + take_options(spec)


def _check_option(text: str) -> None:
    name = text.partition("=")[0]
    if text in ("-", "--"):
        raise SpecError(f"--launcher-args: not an option of sbatch: {text!r}")
    if text[1] != "-":
        name = _LETTERS.get(text[1], "")
    refused = [one for one in _REFUSED if name and one.startswith(name)]
    if name in ("--help", "--version", "--usage"):
        refused = [name]
    if refused:
        instead = _REFUSED.get(refused[0], "nothing would run")
        raise SpecError(f"--launcher-args: {text!r} is refused: {instead}")
