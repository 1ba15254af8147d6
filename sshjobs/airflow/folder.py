"""The directory of this room in the record of this machine; only we look into it."""

from __future__ import annotations

import os
import tempfile


def make_folder(*names: str) -> str:
    """Return the path of ``airflow/NAMES`` in the record; make what is missing, 0700.

    Raises:
        StoreError: a directory on the way is somebody else's, or a link.
    """
    from ..owned import check_dir, close_to_others, make_private
    from ..store import default_home, make_home

    path = default_home(dict(os.environ))
    make_home(path)  # the store refuses one that is open to others
    for name in ("airflow", *names):
        path = os.path.join(path, name)
        if not make_private(path):
            check_dir(path)
            close_to_others(path)
        check_dir(path, private=True)
    return path


def publish_file(path: str, text: str) -> None:
    """Write a file (0600) that is whole from the first moment."""
    descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)
