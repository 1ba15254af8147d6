"""The names, parameters and results of the ssh provider's operators (7.0), kept here.

A DAG changes the module that it imports from, and nothing else::

    from sshjobs.airflow import SSHOperator, SSHRemoteJobOperator

What differs from there is one list in docs/how-to/migrate-from-airflow-ssh.md.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from .operators import SSHJobOperator


class SSHRemoteJobOperator(SSHJobOperator):
    """:class:`.SSHJobOperator` with the defaults of the operator of this name.

    It defers, no exit status skips, and nothing is left as its return value.
    """

    def __init__(
        self,
        *,
        skip_on_exit_code: int | Container[int] | None = None,
        deferrable: bool = True,
        xcom: str = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            skip_on_exit_code=skip_on_exit_code,
            deferrable=deferrable,
            xcom=xcom,
            **kwargs,
        )


class SSHOperator(SSHJobOperator):
    """:class:`.SSHJobOperator` with defaults and results of the one of this name.

    No exit status skips; the output, in base64, is its return value, and the exit
    status is the XCom ``ssh_exit``.
    """

    template_ext: Sequence[str] = (".sh", ".bash", ".csh", ".zsh", ".dash", ".ksh")
    pushes_exit_status = True

    def __init__(
        self,
        *,
        skip_on_exit_code: int | Container[int] | None = None,
        xcom: str = "base64",
        **kwargs: Any,
    ) -> None:
        super().__init__(skip_on_exit_code=skip_on_exit_code, xcom=xcom, **kwargs)
