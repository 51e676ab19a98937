"""When each message became a committed row, read from the tables alone.

    latency.py TABLE_ROOT SENT.tsv

SENT.tsv has a line per message: control id, tab, nanoseconds since 1970 of its first byte on the wire. A row is
committed when the Delta log entry that adds its file appears: the entry's modification time. Prints one JSON
object: `messages`, `missing` (sent and not in the table), `p50_ms`, `p99_ms`, `max_ms`.
"""

import json
import pathlib
import sys
import urllib.parse

import polars as pl


def commits(table: pathlib.Path):
    """Each committed data file with its commit time in nanoseconds."""
    for entry in sorted((table / "_delta_log").glob("*.json")):
        committed = entry.stat().st_mtime_ns
        for line in entry.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                yield table / urllib.parse.unquote(action["add"]["path"]), committed


def control_id(payload: bytes) -> str:
    """MSH-10, by the delimiter that MSH-1 declares."""
    header = payload.lstrip(b"\x0b").split(b"\r", 1)[0]
    return header.split(header[3:4])[9].decode("latin-1")


def main() -> int:
    table = pathlib.Path(sys.argv[1]) / "raw"
    sent = {}
    for line in pathlib.Path(sys.argv[2]).read_text().splitlines():
        name, at = line.split("\t")
        sent[name] = int(at)
    latencies = []
    for file, committed in commits(table):
        for payload in pl.read_parquet(file, columns=["payload"])["payload"]:
            at = sent.pop(control_id(payload), None)
            if at is not None:
                latencies.append((committed - at) / 1e6)
    took = pl.Series(latencies, dtype=pl.Float64)
    print(json.dumps({
        "messages": len(latencies),
        "missing": len(sent),
        "p50_ms": took.quantile(0.5, "linear"),
        "p99_ms": took.quantile(0.99, "linear"),
        "max_ms": took.max(),
    }))
    return 0 if not sent else 1


if __name__ == "__main__":
    sys.exit(main())
