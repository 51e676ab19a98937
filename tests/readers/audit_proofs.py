"""Proves an exported audit log without a line of our own code.

    audit_proofs.py EXPORT RECEIPTS

EXPORT is what `wardgate audit export` prints, RECEIPTS what `wardgate-landing audit GATEWAY --json` prints. Checked are:
every leaf's hash and CBOR, the chain of the entries, every inclusion proof against the signed checkpoint at the end
(RFC 9162 section 2.1.3.2), the tree built anew from all leaves (RFC 6962 section 2.1), and of every receipt the
signature (c2sp.org/signed-note) and that the log continues it.
"""

import base64
import hashlib
import json
import sys

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree(leaves):
    """MTH of RFC 6962, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node(tree(leaves[:k]), tree(leaves[k:]))


def root_from(leaf, index, size, path):
    fn, sn, r = index, size - 1, leaf
    for p in path:
        assert sn != 0, "the proof is too long"
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0, "the proof is too short"
    return r


def opened(note, key):
    """Origin, size and root of a signed note, its signature checked."""
    name, key_id, encoded = key.split("+", 2)
    algorithm, public = (raw := base64.b64decode(encoded))[0], raw[1:]
    assert algorithm == 1
    assert hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() == key_id
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    [signed] = [s for s in signatures.splitlines() if s.startswith(f"— {name} ")]
    signature = base64.b64decode(signed.split(" ")[2])
    assert signature[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(public).verify(signature[4:], text.encode())
    origin, size, root = text.split("\n")[:3]
    assert origin == name
    return origin, int(size), base64.b64decode(root)


def main(export, receipts):
    *lines, last = [json.loads(line) for line in open(export, encoding="utf-8")]
    _, size, root = opened(last["checkpoint"], last["key"])
    assert size == len(lines), f"{size} entries vouched for, {len(lines)} exported"
    leaves, previous = [], bytes(32)
    for index, line in enumerate(lines):
        leaf = base64.b64decode(line["leaf"])
        hashed = hashlib.sha256(b"\x00" + leaf).digest()
        assert line["index"] == index and hashed.hex() == line["leaf_sha256"]
        entry = cbor2.loads(leaf)
        assert entry["previous"] == previous, f"entry {index} does not follow the one before"
        event = entry["event"]
        assert all(event[key] == line[key] for key in ("actor", "action", "subject", "detail"))
        path = [base64.b64decode(p) for p in line["inclusion"]]
        assert root_from(hashed, index, size, path) == root, f"entry {index} is not proven"
        leaves.append(hashed)
        previous = hashed
    assert tree(leaves) == root
    papers = json.load(open(receipts, encoding="utf-8"))
    for paper in papers:
        _, size, root = opened(paper["checkpoint"], paper["key"])
        assert tree(leaves[:size]) == root, f"the log does not continue the receipt of {size} entries"
    print(f"{len(leaves)} entries proven, {len(papers)} receipts continued")


if __name__ == "__main__":
    main(*sys.argv[1:])
