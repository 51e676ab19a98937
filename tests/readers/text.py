"""Prints the text of the HL7 messages of `raw`, a JSON object a line, in the order of lane, epoch and number.

    text.py ROOT

Each payload is decoded by the column `charset` with Python's own codecs, and nothing else: `record_id`, `charset`,
`facility` (MSH-4), `name` (PID-5) and `values` (the OBX-5). A byte that does not decode is an error.
"""

import json
import pathlib
import re
import sys

import polars as pl

CODECS = {"ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UNICODE UTF-16LE": "utf-16-le", "UNICODE UTF-16BE": "utf-16-be"}


def codec(charset: str) -> str:
    """Table 0211 in Python's words."""
    part = re.fullmatch(r"8859/(\d+)", charset)
    return f"iso8859-{part[1]}" if part else CODECS[charset]


def main() -> int:
    raw = pl.read_delta(str(pathlib.Path(sys.argv[1]) / "raw")).filter(pl.col("format") == "hl7v2")
    for row in raw.sort("lane", "epoch", "seq").iter_rows(named=True):
        text = row["payload"].decode(codec(row["charset"]))
        segments = [line.split("|") for line in text.lstrip("\ufeff").split("\r") if line]
        print(json.dumps({
            "record_id": row["record_id"],
            "charset": row["charset"],
            "facility": next(s[3] for s in segments if s[0] == "MSH"),
            "name": next((s[5] for s in segments if s[0] == "PID"), None),
            "values": [s[5] for s in segments if s[0] == "OBX"],
        }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
