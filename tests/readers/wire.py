"""The gateway's side of the wire protocol (docs/wire-protocol.md), written from its description: what another
gateway, a confused one or a hostile one sends.

    wire.py HOST PORT CA CERTIFICATE KEY < STEPS.json

STEPS is an array of objects; prints an array of answers in their order: `{status, body, sha256}`, or `{error}` where
there was no answer. Steps:

- `{"do": "epoch", "destination", "lane", "incarnation", "proposed", "resume_after"}`
- `{"do": "put", "destination", "lane", "epoch", "first", "batch": {...}}`: a batch, see `batch()` for what can be
  said of it. `manifest` replaces the true digest, `raw` (hex) the compressed body, `bomb` is a body of so many zeros.
- `{"do": "again", "step": N}`: the same request as step N, byte for byte.
- `{"do": "get", "path"}`
- `{"do": "restart"}`: a new connection.
"""

import hashlib
import json
import ssl
import sys

import cbor2
import httpx
import zstandard

MEDIA_TYPE = "application/vnd.wardgate.batch+cbor"


def record(seq: int, payload: str, said: dict) -> dict:
    return {
        "seq": seq,
        "origin": None,
        "feed": "adt",
        "format": "hl7v2",
        "received_at": {"instant": 1_790_000_000_000_000},
        "peer": None,
        "channel": None,
        "message_type": "ORU^R01",
        "control_id": None,
        "observations": [],
        "payload": payload.encode(),
        "rules": [],
    } | said


def batch(step: dict) -> bytes:
    """CBOR of a batch. `payloads` are its records from `first` on; everything can be replaced by name."""
    said = dict(step.get("batch", {}))
    first = said.pop("first", step["first"])
    payloads = said.pop("payloads", [])
    skipped = said.pop("skipped", [])
    gateway = said.pop("gateway", None) or step["gateway"]
    policy = said.pop("policy", "treatment")
    records = [record(first + n, payload, said.pop("record", {})) for n, payload in enumerate(payloads)]
    covered = len(records) + sum(skip["last"] - skip["first"] + 1 for skip in skipped)
    document = {
        "stream": {
            "gateway": gateway,
            "destination": step["destination"],
            "lane": step["lane"],
            "epoch": step["epoch"],
        },
        "first": first,
        "last": first + covered - 1,
        "policy": {"name": policy, "label": policy, "sha256": "0" * 64},
        "records": records,
        "skipped": skipped,
    }
    document["stream"] |= said.pop("stream", {})
    return cbor2.dumps(document | said)


def request(step: dict) -> dict:
    """What httpx takes."""
    if step["do"] == "get":
        return {"method": "GET", "url": step["path"]}
    where = f"/v1/{step['destination']}/{step['lane']}"
    if step["do"] == "epoch":
        names = ("incarnation", "proposed", "resume_after")
        return {"method": "POST", "url": f"{where}/epoch", "json": {name: step[name] for name in names}}
    raw = batch(step)
    body = zstandard.ZstdCompressor().compress(raw)
    if "bomb" in step:
        body = zstandard.ZstdCompressor(level=19).compress(bytes(step["bomb"]))
    if "raw" in step:
        body = bytes.fromhex(step["raw"])
    headers = {
        "content-type": MEDIA_TYPE,
        "content-encoding": "zstd",
        "wardgate-manifest-sha256": step.get("manifest", hashlib.sha256(raw).hexdigest()),
    }
    return {"method": "PUT", "url": f"{where}/{step['epoch']}/{step['first']}", "content": body, "headers": headers}


def main() -> int:
    host, port, ca, certificate, key = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if certificate:
        context.load_cert_chain(certificate, key)

    def connect() -> httpx.Client:
        return httpx.Client(http1=False, http2=True, verify=context, base_url=f"https://{host}:{port}", timeout=30)

    client = connect()
    requests, answers = [], []
    for step in json.load(sys.stdin):
        if step["do"] == "restart":
            client.close()
            client = connect()
            requests.append(None)
            answers.append({})
            continue
        asked = requests[step["step"]] if step["do"] == "again" else request(step)
        requests.append(asked)
        try:
            answer = client.request(**asked)
        except httpx.HTTPError as error:
            answers.append({"error": f"{type(error).__name__}: {error}"})
            client.close()
            client = connect()
            continue
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
        digest = hashlib.sha256(answer.content).hexdigest()
        answers.append({"status": answer.status_code, "body": body, "sha256": digest})
    print(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
