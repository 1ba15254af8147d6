"""The room of a cheap start: what a start leaves out, and what that buys.

A cold process is the unit of cost here: each BashOperator, cron line and Invoke task
starts one. docs/decisions/0007 has the story. ``tests/test_startup.py`` reads the table
and measures it again: no module of the second column is there after a verb, and to
import it then would bring about so many modules more. Milliseconds are of processor
time, CPython 3.11, after ``sshjobs list``; rows without modules buy time alone.

| in use | instead of | modules | ms |
|---|---|---|---|
| startup.records.Record, TYPE_CHECKING | typing | 13 | 4.8 |
| startup.stdlib: the C halves | signal socket sqlite3 | 9 | 3.4 |
| cli.parser: our own reader of arguments | argparse | 11 | 3.2 |
| verbs.config: parsed values, kept in the home | tomllib | 21 | 6.4 |
| marshal and lines of words, for our own records | json | 13 | 3.0 |
| a script of ours, not the wrapper of pip 23 | re | 8 | 2.2 |
| startup.records.Record | dataclasses | 26 | 6.6 |
| __version__ as a constant | importlib.metadata | 85 | 20.5 |
| cli.main: os._exit, the store left open | the end of an interpreter | 0 | 5 |
| cli.main: fewer rounds of garbage collection | gc's default | 0 | 7 |
"""
