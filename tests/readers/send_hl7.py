"""Sends HL7 files over MLLP with PyPI `hl7`, which shares no code with us.

    send_hl7.py HOST PORT PATH...      files, or folders with files below

Each file is split before every segment that begins a message (MSH, after CR, LF or the start; batch and file
envelopes FHS, BHS, BTS and FTS are not part of a message). LF and CRLF become CR, as on the wire; nothing else
is changed. Prints a JSON line for each message, in order:

    {"file", "index", "sha256", "bytes", "code"}

`sha256` is of the bytes between the frame's delimiters, `code` is MSA-1 of the answer, or null where there is none.
Exits 1 if a message was not answered AA or CA.
"""

import hashlib
import json
import pathlib
import re
import sys

from hl7.client import MLLPClient

ENVELOPE = re.compile(rb"^(FHS|BHS|BTS|FTS)\b")


class Client(MLLPClient):
    """`hl7`'s client, for messages larger than a socket buffer and answers that arrive in pieces."""

    def send(self, data: bytes) -> bytes:
        self.socket.sendall(data)
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            piece = self.socket.recv(65536)
            if not piece:
                break
            answer += piece
        return answer


def messages(content: bytes):
    """The messages of a file, as bytes with CR between and after segments."""
    segments = re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf"))
    current: list[bytes] = []
    for segment in segments:
        segment = segment.strip(b"\x0b\x1c")
        if segment.startswith(b"MSH"):
            if current:
                yield b"\r".join(current) + b"\r"
            current = [segment]
        elif current and ENVELOPE.match(segment):
            yield b"\r".join(current) + b"\r"
            current = []
        elif current and segment.strip():
            current.append(segment)
    if current:
        yield b"\r".join(current) + b"\r"


def files(paths):
    for path in map(pathlib.Path, paths):
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def code(answer: bytes):
    for segment in answer.strip(b"\x0b\x1c\r").split(b"\r"):
        if segment.startswith(b"MSA"):
            return segment.split(segment[3:4])[1].decode("latin-1")
    return None


def main() -> int:
    host, port = sys.argv[1], int(sys.argv[2])
    refused = 0
    with Client(host, port) as client:
        client.socket.settimeout(60)
        for file in files(sys.argv[3:]):
            for index, message in enumerate(messages(file.read_bytes())):
                answer = code(client.send_message(message))
                refused += answer not in ("AA", "CA")
                print(json.dumps({
                    "file": str(file),
                    "index": index,
                    "sha256": hashlib.sha256(message).hexdigest(),
                    "bytes": len(message),
                    "code": answer,
                }))
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
