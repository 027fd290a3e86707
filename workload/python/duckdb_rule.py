"""The reader's rule in SQL: which records of an events topic count.

A claim (TermStarted) is valid if its number is higher than the current term's; it opens its term at 0. Any other record is
valid if its term is the current one and its sequence number the next. Everything else is void. The statement needs the order
of the records in each partition, not their offsets, so it also holds on a mirror.

It relies on one thing that a fold does not: that within a term a record is in its place or nowhere. Idempotent producers see to
that. Were number 6 written before number 5, a fold would skip that 6 and go on with 5; the statement would drop the rest of the term.

Usage: duckdb_rule.py HEADERS.csv   (columns: partition, offset, type, term_number, term, seq)
prints the valid decisions as lines  partition,offset.
"""

import csv
import re
import sys
import tempfile

import duckdb

COLUMNS = ["partition", "offset", "type", "term_number", "term", "seq"]

RULE = """
WITH claims AS (SELECT *, CASE WHEN type = 'TermStarted' AND term_number > coalesce(max(CASE WHEN type = 'TermStarted' THEN term_number END)
                       OVER (PARTITION BY "partition" ORDER BY "offset" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) THEN term END AS opens FROM log),
     marked AS (SELECT *, last_value(opens IGNORE NULLS) OVER (PARTITION BY "partition" ORDER BY "offset") AS current FROM claims),
     firsts AS (SELECT * FROM marked WHERE term = current AND type <> 'TermStarted' QUALIFY row_number() OVER (PARTITION BY "partition", term, seq ORDER BY "offset") = 1)
SELECT * FROM firsts QUALIFY row_number() OVER (PARTITION BY "partition", term ORDER BY "offset") = seq
"""

# Headers without which a record is not marked as anybody's decision; see schemas/src/envelope.rs.
REQUIRED = [
    "ce_id", "ce_type", "ce_subject", "ce_time", "ce_causationid", "ce_correlationid",
    "lonja_term", "lonja_sequence", "lonja_version", "lonja_fingerprint",
]  # fmt: skip


def row(partition, offset, headers):
    """The row of a record for `valid`, or None for one that is not marked. `headers` is a list of (name, bytes)."""
    try:
        text = {name: value.decode("utf-8") for name, value in headers if value is not None}
    except UnicodeDecodeError:
        return None
    term = re.fullmatch(r"(\d+):[0-9a-f]+", text.get("lonja_term", ""))
    if not term or not text.get("lonja_sequence", "").isdigit() or any(name not in text for name in REQUIRED):
        return None
    kind = text["ce_type"].rsplit(".", 1)[-1]
    return [partition, offset, kind, int(term[1]), text["lonja_term"], int(text["lonja_sequence"])]


def valid(rows):
    """The (partition, offset) of each row that counts."""
    # Through a file: DuckDB reads a million rows of CSV in a second, and takes one at a time from Python for minutes.
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        file.flush()
        return valid_in(file.name)


def valid_in(file):
    """The (partition, offset) of each row of a CSV file that counts."""
    types = {"partition": "INTEGER", "offset": "BIGINT", "type": "VARCHAR", "term_number": "UBIGINT", "term": "VARCHAR", "seq": "UBIGINT"}
    database = duckdb.connect()
    database.execute("CREATE TABLE log AS SELECT * FROM read_csv(?, header = true, columns = ?)", [file, types])
    return set(database.execute(f'SELECT "partition", "offset" FROM ({RULE})').fetchall())


if __name__ == "__main__":
    for position in sorted(valid_in(sys.argv[1])):
        print(*position, sep=",")
