"""A receiver with PyPI `hl7`, which shares no code with us: notes every message, byte for byte, before it answers.

    receiver.py PORT FILE [EVERY]

Adds a JSON line to FILE for each message read: `{"sha256", "control_id", "code"}`. Answers AA; with EVERY, each message
whose count of distinct messages divides by it is answered AE the first time it comes. Prints a line when it listens.
"""

import asyncio
import hashlib
import json
import sys

import hl7
from hl7.mllp import start_hl7_server

port, path = int(sys.argv[1]), sys.argv[2]
every = int(sys.argv[3]) if len(sys.argv) > 3 else 0
# What earlier runs have seen, so that a restart does not answer AE again.
seen: set[str] = set()
try:
    with open(path, encoding="utf-8") as before:
        seen = {json.loads(line)["sha256"] for line in before}
except FileNotFoundError:
    pass
notes = open(path, "a", encoding="utf-8")


async def serve(reader, writer):
    try:
        while True:
            raw = await reader.readblock()
            sha256 = hashlib.sha256(raw).hexdigest()
            code = "AA"
            if sha256 not in seen:
                seen.add(sha256)
                if every and len(seen) % every == 0:
                    code = "AE"
            message = hl7.parse(raw.decode("utf-8"))
            control_id = str(message.segment("MSH")[10])
            print(json.dumps({"sha256": sha256, "control_id": control_id, "code": code}), file=notes, flush=True)
            writer.writemessage(message.create_ack(ack_code=code))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    async with await start_hl7_server(serve, host="127.0.0.1", port=port, limit=1 << 26) as server:
        print("listening", flush=True)
        await server.serve_forever()


asyncio.run(main())
