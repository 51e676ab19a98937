"""Reads a landing's tables with `deltalake` and `polars`, which share no code with us, and checks the ledger.

    tables.py ROOT

Prints one JSON object: rows of each table, `distinct` record names in `raw`, `skipped` in the ledger, and
`problems`, one sentence each. Exits 1 if there are problems. What is checked, for each stream (gateway,
destination, lane, epoch):

- the batches of the ledger follow each other without a gap or an overlap;
- sum(rows) + sum(skipped) = max(last) - min(first) + 1;
- `raw` has exactly the rows that the ledger states for each batch, and no sequence number twice.
"""

import json
import pathlib
import sys

import polars as pl
from deltalake import DeltaTable

STREAM = ["gateway", "lane", "epoch"]


def read(root: pathlib.Path, table: str) -> pl.DataFrame | None:
    path = root / table
    if not DeltaTable.is_deltatable(str(path)):
        return None
    return pl.read_delta(str(path))


def check_stream(name: tuple, ledger: pl.DataFrame, raw: pl.DataFrame):
    """Yields what is wrong with one stream."""
    what = "-".join(str(part) for part in name)
    ledger = ledger.sort("first")
    batches = list(ledger.select("first", "last", "rows", "skipped").iter_rows(named=True))
    for before, after in zip(batches, batches[1:]):
        if after["first"] != before["last"] + 1:
            yield f"{what}: batch {after['first']} follows a batch that ends at {before['last']}"
    covered = batches[-1]["last"] - batches[0]["first"] + 1
    accounted = sum(batch["rows"] + batch["skipped"] for batch in batches)
    if covered != accounted:
        yield f"{what}: the ledger covers {covered} records and accounts for {accounted}"
    seqs = raw["seq"]
    if seqs.n_unique() != len(seqs):
        yield f"{what}: {len(seqs) - seqs.n_unique()} rows of raw repeat a sequence number"
    for batch in batches:
        rows = raw.filter(pl.col("seq").is_between(batch["first"], batch["last"])).height
        if rows != batch["rows"]:
            yield f"{what}: the ledger states {batch['rows']} rows from {batch['first']} on, raw has {rows}"
    outside = raw.filter(~pl.col("seq").is_between(batches[0]["first"], batches[-1]["last"])).height
    if outside:
        yield f"{what}: {outside} rows of raw are in no batch of the ledger"


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    tables = {path.name: read(root, path.name) for path in sorted(root.iterdir()) if path.is_dir()}
    tables = {name: table for name, table in tables.items() if table is not None}
    raw, ledger = tables.get("raw"), tables.get("ledger")
    problems = [f"there is no table {name}" for name in ("raw", "ledger") if name not in tables]
    if raw is not None and ledger is not None:
        streams = {key: part for key, part in ledger.group_by(STREAM)}
        for key, part in streams.items():
            mine = raw
            for column, value in zip(STREAM, key):
                mine = mine.filter(pl.col(column) == value)
            problems.extend(check_stream(key, part, mine))
        strangers = raw.join(ledger.select(STREAM).unique(), on=STREAM, how="anti").height
        if strangers:
            problems.append(f"{strangers} rows of raw belong to no stream of the ledger")
    print(json.dumps({
        "rows": {name: table.height for name, table in tables.items()},
        "distinct": 0 if raw is None else raw.select("gateway", "record_id").n_unique(),
        "skipped": 0 if ledger is None else int(ledger["skipped"].sum()),
        "ledger_rows": 0 if ledger is None else int(ledger["rows"].sum()),
        "problems": problems,
    }))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
