"""The columns of the store, and the steps from each older version to this one."""

from __future__ import annotations

from ..states import ACTIVE

#: The version that this sshjobs writes, SQLite's ``user_version``.
VERSION = 12

#: True of a row of a job that may still change, and of one that may not. SQLite uses a
#: partial index only where a query says the same as the index: both take it from here.
IS_ACTIVE = f"state IN ({', '.join(map(repr, ACTIVE))})"
IS_FINAL = f"state NOT IN ({', '.join(map(repr, ACTIVE))})"

#: In the place of its process, the owner of a start that waited here for other jobs: it
#: is the record's own, and no process has asked for it that could die.
OF_RECORD = "record"

#: When a job ended that may not change any more. Of one that is LOST the end may be
#: unknown.
ENDED_AT = "coalesce(finished_at, submitted_at)"

# What the ledger of a host counts is kept by the minute as well. A trigger does it: in
# the transaction of the count, and for processes of older versions too. Each process
# reads it with the schema, so it is short (an upsert, SQLite 3.24; before 3.35 it must
# name its conflict).
_TRAFFIC = """
CREATE TABLE traffic (
    site_id TEXT, at INTEGER, handshakes INTEGER, drops INTEGER, sessions INTEGER,
    PRIMARY KEY (site_id, at)
) WITHOUT ROWID;
CREATE TRIGGER sites_traffic AFTER UPDATE OF handshakes, drops, sessions ON sites BEGIN
    INSERT INTO traffic VALUES (NEW.site_id, strftime('%s') / 60 * 60,
        NEW.handshakes - OLD.handshakes, NEW.drops - OLD.drops,
        NEW.sessions - OLD.sessions) ON CONFLICT (site_id, at) DO UPDATE SET
        handshakes = handshakes + excluded.handshakes,
        drops = drops + excluded.drops, sessions = sessions + excluded.sessions;
END;
"""

# Of a million ended jobs, those of today are found without a look at the others.
_ENDED = f"CREATE INDEX jobs_ended ON jobs ({ENDED_AT}) WHERE {IS_FINAL}"

# What each round and each poll asks of all that is active stands in an index by itself:
# the rows of two thousand that run are on as many pages of the table, beside a hundred
# thousand that ended. SQLite reads the state, too, though the index says what it is
# (3.40).
_ACTIVE = f"""
CREATE INDEX jobs_active ON jobs (site_id, state, launcher, id, pid, start)
    WHERE {IS_ACTIVE};
CREATE INDEX jobs_active_age ON jobs (submitted_at, id, site_id, state)
    WHERE {IS_ACTIVE};
"""

_DROP_ACTIVE = """
DROP INDEX IF EXISTS jobs_active;
DROP INDEX IF EXISTS jobs_active_age;
"""

_TABLES = f"""
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, site_id TEXT NOT NULL, state TEXT NOT NULL,
    key TEXT NOT NULL, name TEXT NOT NULL, once INTEGER NOT NULL,
    attempt INTEGER NOT NULL, command TEXT NOT NULL, digest TEXT NOT NULL,
    cwd TEXT NOT NULL, shell TEXT NOT NULL, env_names TEXT NOT NULL, timeout REAL,
    cleanup TEXT NOT NULL, exit_status INTEGER, signal INTEGER, reason TEXT NOT NULL,
    node TEXT NOT NULL, pid INTEGER, start TEXT NOT NULL, submitted_at REAL NOT NULL,
    started_at REAL, finished_at REAL, log_bytes INTEGER NOT NULL,
    log_local_bytes INTEGER NOT NULL, log_final INTEGER NOT NULL, reaped_at REAL,
    max_log_bytes INTEGER NOT NULL DEFAULT 0, launcher TEXT NOT NULL DEFAULT '',
    handle TEXT NOT NULL DEFAULT '', pool TEXT NOT NULL DEFAULT '',
    stderr_bytes INTEGER, stderr_local_bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
{_ACTIVE}
CREATE INDEX jobs_key ON jobs (key, submitted_at) WHERE key <> '';
CREATE INDEX jobs_age ON jobs (submitted_at);
CREATE INDEX jobs_unreaped ON jobs (site_id, finished_at)
    WHERE reaped_at IS NULL AND {IS_FINAL};
{_ENDED};
CREATE TABLE intents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, site_id TEXT NOT NULL, kind TEXT NOT NULL,
    job_id TEXT NOT NULL, pid INTEGER NOT NULL, pid_start TEXT NOT NULL,
    created_at REAL NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT ''
);
CREATE INDEX intents_open ON intents (site_id, done, id);
CREATE INDEX intents_job ON intents (job_id);
CREATE TABLE sites (
    site_id TEXT PRIMARY KEY, host TEXT NOT NULL, node TEXT NOT NULL DEFAULT '',
    identity BLOB NOT NULL DEFAULT x'', base TEXT NOT NULL DEFAULT '',
    since REAL NOT NULL, generation INTEGER NOT NULL DEFAULT 0,
    journal_gen TEXT NOT NULL DEFAULT '', journal_at INTEGER NOT NULL DEFAULT 0,
    round_started_at REAL NOT NULL DEFAULT 0, round_ended_at REAL NOT NULL DEFAULT 0,
    watched_at REAL NOT NULL DEFAULT 0, end_seen_at REAL NOT NULL DEFAULT 0,
    unwatched_until REAL NOT NULL DEFAULT 0,
    cooldown_until REAL NOT NULL DEFAULT 0, cooldown_set_at REAL NOT NULL DEFAULT 0,
    cause TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
    bad_rounds INTEGER NOT NULL DEFAULT 0, refused TEXT NOT NULL DEFAULT '{{}}',
    handshakes INTEGER NOT NULL DEFAULT 0, drops INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0, sessions INTEGER NOT NULL DEFAULT 0,
    rounds INTEGER NOT NULL DEFAULT 0, bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0, failing_since REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE identities (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
{_TRAFFIC}"""

#: The outcome of an intent that version 5 served stood in its note: where another job
#: held the key of the job to start, the note was JSON, as of an error, but was none.
_READ_NOTE = """SET
    outcome = CASE note WHEN '' THEN 'served' WHEN '["Same", []]' THEN 'same'
        WHEN '["Differs", []]' THEN 'differs' ELSE 'failed' END,
    note = CASE WHEN note IN ('["Same", []]', '["Differs", []]') THEN ''
        ELSE note END"""

#: By the version of a store, the version that a step makes of it and the step, which is
#: a transaction of its own; 0 is an empty file. A release that changes the schema
#: changes the tables above, adds a step from the version before and raises
#: :data:`VERSION`. A process of the version before that is still at work goes on if the
#: step only adds tables or columns that have a default, or changes indexes; if the step
#: renames some, that process ends with an error that says so, and its intents stay for
#: the next process.
MIGRATIONS = {
    0: (VERSION, _TABLES),
    1: (2, "ALTER TABLE jobs ADD COLUMN max_log_bytes INTEGER NOT NULL DEFAULT 0"),
    2: (
        3,
        """
ALTER TABLE jobs RENAME COLUMN conn TO site_id;
ALTER TABLE jobs RENAME COLUMN log_home TO log_local_bytes;
ALTER TABLE intents RENAME COLUMN conn TO site_id;
ALTER TABLE hosts RENAME TO sites;
ALTER TABLE sites RENAME COLUMN conn TO site_id;
ALTER TABLE sites RENAME COLUMN stirred_at TO end_seen_at""",
    ),
    3: (
        4,
        """
ALTER TABLE jobs ADD COLUMN launcher TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN handle TEXT NOT NULL DEFAULT ''""",
    ),
    4: (5, "ALTER TABLE sites ADD COLUMN failing_since REAL NOT NULL DEFAULT 0"),
    # A leader of version 5 that is still at work serves intents of this version too,
    # and knows no outcome: the trigger writes it. The other way round, an intent of a
    # process of version 5 that a leader of this version serves loses no more than the
    # warning that another job held the key.
    5: (
        6,
        f"""
ALTER TABLE intents ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
UPDATE intents {_READ_NOTE} WHERE done = 1;
CREATE TRIGGER intents_of_version_5 AFTER UPDATE OF done ON intents
    WHEN NEW.done = 1 AND NEW.outcome = ''
    BEGIN UPDATE intents {_READ_NOTE} WHERE id = NEW.id; END""",
    ),
    6: (7, _TRAFFIC),
    7: (8, "ALTER TABLE jobs ADD COLUMN pool TEXT NOT NULL DEFAULT ''"),
    8: (
        9,
        """
ALTER TABLE jobs ADD COLUMN stderr_bytes INTEGER;
ALTER TABLE jobs ADD COLUMN stderr_local_bytes INTEGER NOT NULL DEFAULT 0""",
    ),
    9: (10, _ENDED),
    10: (11, _DROP_ACTIVE + _ACTIVE),
    # A process of version 11 looks for a spec in a file; version 12 makes none where
    # the row has all of it: such a start fails if that process leads its round.
    11: (12, ""),
}
