"""Prints the rows of one table, a JSON object a line, in the order of lane, epoch and number.

    rows.py ROOT TABLE

Binary values as hex, times as RFC 3339 in UTC. Nothing where there is no such table.
"""

import datetime
import json
import pathlib
import sys

import polars as pl
from deltalake import DeltaTable

ORDER = ("gateway", "lane", "epoch", "seq", "ordinal", "first")


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value


def main() -> int:
    path = str(pathlib.Path(sys.argv[1]) / sys.argv[2])
    if not DeltaTable.is_deltatable(path):
        return 0
    table = pl.read_delta(path)
    table = table.sort([column for column in ORDER if column in table.columns])
    for row in table.iter_rows(named=True):
        print(json.dumps({name: plain(value) for name, value in row.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
