"""Files to a host and back: the methods of hosts and jobs that copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..model import Job as Row
from .pool import ContextPool
from .words import Word, read_paths


class HostFiles:
    """The methods of a host that copy files, over the connection that all share."""

    name: str
    _pool: ContextPool

    def put(self, files: Word | Sequence[Word], dest: Word) -> list[str]:
        """Copy files and directories there, and return their paths there.

        Args:
            files: Paths of this machine; a directory goes with all in it.
            dest: A directory, which is made if it ends with a slash, or the new name of
                one file. It is relative to the login directory.

        Raises:
            SpecError: a file is not here; nothing was done.
            CopyFailed: some or all were not copied.
            ConnectionLost: it ended in the middle; the same call goes on from there.

        >>> Host("gpu1").put("/etc/hostname", "demo/put/")
        ['/.../demo/put/hostname']
        """
        from ..verbs.copy_files import put_files

        with self._pool.borrow() as ctx:
            done = put_files(ctx, self.name, read_paths(files), *read_paths(dest))
        return [one.target for one in done]

    def get(self, files: Word | Sequence[Word], dest: Word = ".") -> list[Path]:
        """Copy files and directories here, and return their paths here.

        Args:
            files: Paths there, or patterns as of a shell, relative to the login
                directory.
            dest: A directory, which is made if it ends with a slash, or the new name of
                one file.

        Raises:
            CopyFailed, ConnectionLost: as of :meth:`put`.
        """
        return _copy_here(self._pool, self.name, "", files, dest)


class JobFiles:
    """The method of a job that copies its files."""

    _pool: ContextPool
    _row: Row

    def get(self, files: Word | Sequence[Word], dest: Word = ".") -> list[Path]:
        """Copy files of the job here, and return their paths here.

        Paths and patterns are relative to the job's working directory; see
        :meth:`Host.get`. Its files stay where they are, also after :meth:`reap`.

        >>> import tempfile
        >>> job = Host("gpu1").submit("mkdir -p demo; echo 1 > demo/a.csv").wait()
        >>> [path.name for path in job.get("demo/*.csv", tempfile.mkdtemp())]
        ['a.csv']
        """
        return _copy_here(self._pool, self._row.host, self._row.cwd, files, dest)


def _copy_here(
    pool: ContextPool, host: str, base: str, files: Word | Sequence[Word], dest: Word
) -> list[Path]:
    from ..verbs.copy_files import get_files

    [target] = read_paths(dest)
    with pool.borrow() as ctx:
        done = get_files(ctx, host, read_paths(files), target, base=base)
    return [Path(one.target) for one in done]
