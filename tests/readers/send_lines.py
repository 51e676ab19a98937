"""Sends messages over MLLP with PyPI `hl7`, which shares no code with us; see tests/peers/README.md.

    send_lines.py HOST PORT FILE
"""

import json
import sys

import hl7
from send_hl7 import Client


def main() -> int:
    host, port, file = sys.argv[1:]
    with Client(host, int(port)) as client, open(file, encoding="utf-8") as lines:
        client.socket.settimeout(30)
        for message in map(json.loads, lines):
            answer = hl7.parse(client.send_message(message).strip(b"\x0b\x1c\r").decode())
            print(json.dumps({
                "control_id": str(hl7.parse(message).segment("MSH")[10]),
                "code": str(answer.segment("MSA")[1]),
                "answers": str(answer.segment("MSA")[2]),
            }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
