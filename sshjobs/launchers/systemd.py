"""Jobs as services of the user's own systemd, on the host itself.

Source: systemd-run(1), systemd.exec(5) and systemd.service(5) of systemd 252.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import Spec
from .options import Options, measure_limit, take_options

_OPTIONS = Options(
    "systemd-run",
    takes=dict.fromkeys(("-p", "--property", "--slice", "--nice"), 1),
    refused={
        "--unit": "the name there is sj-ID; use --name",
        "-E": "use --env",
        "--setenv": "use --env",
        "--working-directory": "use --cwd",
        "-d": "use --cwd",
        "--shell": "use --shell",
        "--system": "log in as root, to have root's services",
        "--scope": "the job would end with its login",
        "--wait": "use sshjobs wait",
        "--pipe": "the log has its output",
        "--pty": "a job has no terminal",
        "-r": "a job runs once; use --key, and submit it again",
        "--remain-after-exit": "a job's end is the end of its service",
    },
)

#: Beginnings of properties that would take the job out of the runner's hands.
_OURS = (
    *("Exec", "Restart", "Type", "KillMode", "KillSignal", "SendSIGKILL", "Remain"),
    *("WorkingDirectory", "Standard", "Environment", "PassEnvironment", "User"),
    *("RootDirectory", "RootImage", "DynamicUser", "PrivateUsers", "PIDFile"),
)


class SystemdLauncher:
    """Hands jobs to systemd-run, and asks systemctl about them."""

    name = "systemd"
    parts: tuple[str, ...] = ("systemd",)

    def check_spec(self, spec: Spec) -> None:
        """Refuse options and properties that would break the contract with a job."""
        _OPTIONS.check(spec)
        words = [word.decode("utf-8", "replace") for word in spec.launcher_args]
        for before, word in zip(["", *words], words):
            name = word.removeprefix("--property=") if "=" in word else ""
            is_property = before in ("-p", "--property") or name != word
            if is_property and name.startswith(_OURS):
                raise SpecError(
                    f"--launcher-args: {word!a:.100} is refused: sshjobs has that "
                    "property; see --cwd, --env, --stdin and --timeout"
                )

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return ``RuntimeMaxSec`` for a job with a limit, and then the job's own."""
        seconds = measure_limit(spec)
        limit = () if seconds is None else (b"-p", b"RuntimeMaxSec=%d" % seconds)
        return limit + take_options(spec)
