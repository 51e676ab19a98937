"""Takes HL7 over MLLP with PyPI `hl7`, which shares no code with us, and answers AA.

    receive_hl7.py PORT

Prints `{"listening": true}`, then a JSON line for each message, in order: `{"control_id", "segments"}`. Ends with its
standard input.
"""

import asyncio
import json
import sys

from hl7.mllp import start_hl7_server


async def serve(reader, writer):
    try:
        while True:
            message = await reader.readmessage()
            print(json.dumps({
                "control_id": str(message.segment("MSH")[10]),
                "segments": len(message),
            }), flush=True)
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def main() -> None:
    async with await start_hl7_server(serve, host="127.0.0.1", port=int(sys.argv[1]), limit=1 << 26):
        print(json.dumps({"listening": True}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
