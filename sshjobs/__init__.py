"""Long jobs on hosts that you can only reach by SSH, over one connection.

The Python API is :mod:`sshjobs.verbs`; the errors are in :mod:`sshjobs.errors`.
Nothing is imported here, so that ``import sshjobs`` costs nothing.
"""

__version__ = "0.1.0"
