"""Holds what senders know against what stands in the tables: nothing acknowledged is lost, nothing is there twice.

    accounted.py SENT.jsonl ROOT [OTHER_ROOT...]

SENT.jsonl has a line per message in the order of sending: `sha256` of its bytes, `connection`, `acknowledged`. ROOT
holds a destination that gets every byte (treatment). Prints one JSON object: `acknowledged`, `rows`, and `problems`,
one sentence each; exits 1 if there are problems. Checked:

- every acknowledged message is one row of `raw`; every other one is one row or none; there are no other rows;
- the rows of a connection stand in the order in which it sent;
- each OTHER_ROOT accounts for exactly the same records, as a row or as a number skipped in its ledger.
"""

import collections
import hashlib
import json
import pathlib
import sys

import polars as pl

PROBLEMS_MAX = 20


def accounted_for(root: pathlib.Path) -> set:
    """(lane, epoch, seq) of every row and every skip."""
    raw = pl.read_delta(str(root / "raw"), columns=["lane", "epoch", "seq"])
    records = set(raw.iter_rows())
    for lane, epoch, ranges in pl.read_delta(
        str(root / "ledger"), columns=["lane", "epoch", "skipped_ranges"]
    ).iter_rows():
        for first, last, _ in json.loads(ranges):
            records.update((lane, epoch, seq) for seq in range(first, last + 1))
    return records


def main() -> int:
    sent = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
    root = pathlib.Path(sys.argv[2])
    raw = pl.read_delta(str(root / "raw"), columns=["lane", "epoch", "seq", "payload"])
    raw = raw.sort("lane", "epoch", "seq")
    problems = []
    places = collections.defaultdict(list)
    for place, payload in enumerate(raw["payload"]):
        places[hashlib.sha256(payload).hexdigest()].append(place)

    wanted: dict[str, bool] = {}
    for message in sent:
        wanted[message["sha256"]] = wanted.get(message["sha256"], False) or message["acknowledged"]
    for name, acknowledged in wanted.items():
        count = len(places[name])
        if acknowledged and count != 1:
            problems.append(f"an acknowledged message ({name[:12]}) is {count} rows")
        elif count > 1:
            problems.append(f"a message without an acknowledgement ({name[:12]}) is {count} rows")
    strangers = sum(len(rows) for name, rows in places.items() if name not in wanted)
    if strangers:
        problems.append(f"{strangers} rows were sent by nobody")

    last: dict = {}
    counts = collections.Counter(message["sha256"] for message in sent)
    for message in sent:
        rows = places[message["sha256"]]
        # What several connections sent, or one of them twice, has its place from whoever was first.
        if len(rows) != 1 or counts[message["sha256"]] != 1:
            continue
        if rows[0] < last.get(message["connection"], -1):
            problems.append(f"connection {message['connection']}: {message['sha256'][:12]} is out of order")
        last[message["connection"]] = rows[0]

    ours = accounted_for(root)
    for other in sys.argv[3:]:
        theirs = accounted_for(pathlib.Path(other))
        if ours != theirs:
            problems.append(f"{other} accounts for {len(theirs - ours)} records more, {len(ours - theirs)} less")
    print(json.dumps({
        "acknowledged": sum(wanted.values()),
        "rows": raw.height,
        "problems": problems[:PROBLEMS_MAX],
    }))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
