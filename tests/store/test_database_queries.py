"""Every query that a list or a report makes goes through an index, on both databases, once there are many rows."""

from __future__ import annotations

import re

import pytest
from postgres_rig import as_owner
from sqlalchemy import LargeBinary, event

from guideway.store import api_keys, checkpoints, evidence, fleet, ledger, releases, steps, tables, usage, waivers

MANY = 3000
DIGEST = "sha256:" + "0" * 60 + "1234"


def rows(table, number: int):
    """A row of any table: the same few names, times and digests that differ."""
    digest = f"sha256:{number * 0x9E3779B97F4A7C15 % 2**256:064x}"
    few = {
        "name": f"m{number % 50}", "environment": f"e{number % 50}", "what": f"w{number % 50}",
        "metric": f"metric{number % 50}", "verdict": "PASS", "phase": "done" if number % 100 else "pending",
        "automatic": True, "valid_until": None, "slice": "", "number": number, "seq": number,
        "stage": f"s{number % 50}", "release": digest, "subject": digest,
    }  # fmt: skip
    kinds = dict.fromkeys(("at", "created", "until", "expires"), float(number))
    plain = {"size": number, "mtime_ns": number, "inode": number, "position": number, "epoch": 1, "revision": 1}
    counts = {"day": number % 50, "requests": 1, "tokens": 1, "input_tokens": 1, "output_tokens": 1, "money": 1}
    keys = table.primary_key.columns.keys()
    unique = {keys[0]: digest} if len(keys) == 1 and keys[0] != "seq" else {}
    known = {**few, **kinds, **plain, **counts, **unique}
    bodies = {one.name: b"" for one in table.columns if isinstance(one.type, LargeBinary)}
    return {column.name: known.get(column.name, digest) for column in table.columns} | bodies


@pytest.fixture
def full(database, where):
    """Many rows in every table, and statistics about them where a server gathers some by itself: on PostgreSQL."""
    with database.transaction():
        for table in tables.TABLES.sorted_tables:
            if table.name != "meta":
                values = [rows(table, number) for number in range(1, MANY + 1)]
                database._connected().execute(table.insert(), values)
    if database.dialect == "postgresql":
        as_owner(where, "ANALYZE")
    return database


QUERIES = {
    "the newest lines of the ledger": lambda db: list(ledger.entries(db, newest_first=True, limit=20)),
    "lines that say one thing": lambda db: list(ledger.entries(db, newest_first=True, limit=20, what="w3")),
    "lines about a digest": lambda db: list(ledger.entries(db, newest_first=True, limit=20, subject=DIGEST)),
    "lines about a subject": lambda db: list(ledger.entries(db, newest_first=True, limit=20, subject="dev")),
    "the last line": ledger.last,
    "is a checkpoint due": checkpoints.due,
    "the releases of a model": lambda db: releases.all_of(db, "m3"),
    "the newest release of a model": lambda db: releases.newest(db, "m3"),
    "a release by its digest": lambda db: releases.by_digest(db, DIGEST),
    "a release by its number": lambda db: releases.find(db, "7"),
    "a release by name and number": lambda db: releases.find(db, "m3:53"),
    "a release by its first digits": lambda db: releases.find(db, "1234567"),
    "an admission": lambda db: releases.admission(db, DIGEST, "e3"),
    "a step by its key": lambda db: steps.step(db, DIGEST),
    "the newest step of a stage": lambda db: steps.latest(db, "s3"),
    "the rollouts of an environment": lambda db: fleet.rollouts(db, "e3"),
    "the running rollouts of an environment": lambda db: fleet.rollouts(db, "e3", running=True),
    "all running rollouts": lambda db: fleet.rollouts(db, running=True),
    "one rollout": lambda db: fleet.rollout(db, "r"),
    "one environment": lambda db: fleet.environment(db, "e3"),
    "a route": lambda db: fleet.route(db, "e3"),
    "the replicas of an environment": lambda db: fleet.replicas(db, "e3"),
    "the keys of an environment": lambda db: api_keys.all_of(db, "e3"),
    "what keys used on a day": lambda db: usage.of_day(db, 3),
    "evidence about subjects": lambda db: evidence.about(db, [DIGEST, "sha256:x"]),
    "evidence by its first digits": lambda db: evidence.by_digest(db, "1234"),
    "the newest evidence": lambda db: evidence.all_of(db, limit=20),
    "the waivers of a model": lambda db: waivers.all_of(db, "m3"),
    "the waivers of a model in an environment": lambda db: waivers.all_of(db, "m3", "e3"),
}


def asked(database, query):
    """The statements that *query* sends, with their values. What it makes of such rows is not of interest."""
    found = []

    def note(connection, cursor, statement, parameters, context, many):
        found.append((statement, parameters))

    event.listen(database._engine, "before_cursor_execute", note)
    try:
        query(database)
    except Exception as error:
        assert "Malformed" in str(error) or "no " in str(error) or "invalid" in str(error).lower(), error
    finally:
        event.remove(database._engine, "before_cursor_execute", note)
    return found


def plan(database, statement, parameters) -> str:
    explain = "EXPLAIN QUERY PLAN " if database.dialect == "sqlite" else "EXPLAIN "
    found = database._connected().exec_driver_sql(explain + statement, parameters)
    return "\n".join(str(row[-1]) for row in found)


def reads_everything(told: str) -> bool:
    """Does the plan visit every row? SQLite walks along its own row numbers in order, and stops at the limit."""
    whole = re.search(r"Seq Scan|^SCAN (?!\w+ USING)", told, re.MULTILINE)
    return bool(whole) and told != "SCAN ledger"


def test_every_query_of_a_list_or_a_report_uses_an_index(full):
    for name, query in QUERIES.items():
        statements = asked(full, query)
        assert statements, name
        for statement, parameters in statements:
            told = plan(full, statement, parameters)
            assert not reads_everything(told), f"{name}\n{statement}\n{told}"
            assert told != "SCAN ledger" or "LIMIT" in statement, name


def test_a_query_without_an_index_would_be_seen_and_the_newest_are_not_sorted(full):
    for statement in ("SELECT body FROM releases WHERE body = 'x'", "SELECT seq FROM ledger ORDER BY why"):
        assert reads_everything(plan(full, statement, None))
    for query in ("the newest lines of the ledger", "lines that say one thing", "the newest evidence"):
        (statement,) = asked(full, QUERIES[query])
        assert not re.search("Sort|TEMP B-TREE", plan(full, *statement)), query
