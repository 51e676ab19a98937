"""A sender of MLLP over TLS, with OpenSSL and nothing of ours.

    tls_sender.py HOST PORT CA [--certificate FILE --key FILE] [--max 1.2] < MESSAGES.json

MESSAGES is an array of texts. Prints `{"version", "sha256", "codes"}`: the version of TLS, the digest of the
certificate that the listener showed, and MSA-1 of each answer; or `{"error"}` where there was no answer.
"""

import argparse
import hashlib
import json
import socket
import ssl
import sys


def answer(stream: ssl.SSLSocket) -> bytes:
    got = b""
    while not got.endswith(b"\x1c\r"):
        part = stream.recv(4096)
        if not part:
            raise ConnectionError("closed without an answer")
        got += part
    return got.strip(b"\x0b\x1c\r")


def main() -> int:
    said = argparse.ArgumentParser()
    said.add_argument("host")
    said.add_argument("port", type=int)
    said.add_argument("ca")
    said.add_argument("--certificate")
    said.add_argument("--key")
    said.add_argument("--max", choices=["1.2"])
    said = said.parse_args()
    context = ssl.create_default_context(cafile=said.ca)
    if said.max:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if said.certificate:
        context.load_cert_chain(said.certificate, said.key)
    messages = json.load(sys.stdin)
    try:
        with socket.create_connection((said.host, said.port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname=said.host) as stream:
                codes = []
                for message in messages:
                    stream.sendall(b"\x0b" + message.encode() + b"\x1c\r")
                    msa = next(s for s in answer(stream).split(b"\r") if s.startswith(b"MSA"))
                    codes.append(msa.split(b"|")[1].decode())
                shown = hashlib.sha256(stream.getpeercert(binary_form=True)).hexdigest()
                print(json.dumps({"version": stream.version(), "sha256": shown, "codes": codes}))
    except (OSError, ssl.SSLError) as error:
        print(json.dumps({"error": str(error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
