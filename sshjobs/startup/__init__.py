"""The room of a cheap start: what a start leaves out, and what that buys.

A cold process is the unit of cost here: each BashOperator, cron line and Invoke task
starts one. docs/decisions/0007 has the story. ``tests/test_startup.py`` reads the table
and measures it again: no module of the second column is there after a verb, and to
import it then would bring about so many modules more. Instructions, in millions, are
those that ``valgrind --tool=cachegrind`` counts, CPython 3.11, after ``sshjobs list``
(in the last three rows, of a ``poll``, which has 71 in all; ``python -c pass`` has 20);
rows without modules buy those alone.

| in use | instead of | modules | instructions |
|---|---|---|---|
| startup.records.Record, TYPE_CHECKING | typing | 23 | 20 |
| startup.stdlib: the C halves, no functools | signal socket sqlite3 | 19 | 29 |
| startup.contexts; Callable for type checkers only | contextlib functools | 9 | 9 |
| cli.parser: our own reader of arguments | argparse | 19 | 26 |
| verbs.config_text: parsed values, kept in the home | tomllib | 32 | 50 |
| marshal and lines of words, for our own records | json | 21 | 22 |
| a script of ours, not the wrapper of pip 23 | re | 16 | 18 |
| startup.records.Record | dataclasses | 36 | 51 |
| __version__ as a constant | importlib.metadata | 96 | 116 |
| PATH taken apart by ourselves | warnings | 1 | 1 |
| startup.finder: our modules are where they are | the search of importlib | 0 | 8 |
| cli.main: os._exit, the store left open | the end of an interpreter | 0 | 13 |
| startup.finder: fewer rounds of garbage collection | gc's default | 0 | 4 |
"""
