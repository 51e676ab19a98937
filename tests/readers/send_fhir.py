"""Sends FHIR with clients that share no code with us: fhirpy, PyJWT, httpx.

    send_fhir.py keys DIR                        an RSA and a P-384 key: DIR/rsa.pem, DIR/ec.pem, DIR/jwks.json
    send_fhir.py smart URL CA DIR CLIENT         fetches tokens by SMART backend services, RS384 and ES384, and writes
                                                 with each: a Patient created and updated, a transaction, a bad resource
    send_fhir.py load URL CA CERT KEY COUNT      COUNT Observations over HTTP/2 and mutual TLS, each sent again until it
                                                 is answered 201

Prints JSON lines. `smart`: {"algorithm", "created", "updated", "transaction", "refused"}. `load`: {"n", "id", "body"}.
"""

import base64
import json
import pathlib
import ssl
import sys
import time
import uuid

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome

PATIENCE_S = 120


def keys(folder):
    folder = pathlib.Path(folder)
    public = []
    made = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP384R1())}
    for name, key in made.items():
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.pem").write_bytes(pem)
        algorithm = jwt.algorithms.RSAAlgorithm if name == "rsa" else jwt.algorithms.ECAlgorithm
        jwk = json.loads(algorithm.to_jwk(key.public_key()))
        public.append({**jwk, "kid": name, "use": "sig"})
    (folder / "jwks.json").write_text(json.dumps({"keys": public}))


def token(url, ca, folder, client, algorithm, kid):
    context = ssl.create_default_context(cafile=ca)
    smart = httpx.get(f"{url}/fhir/.well-known/smart-configuration", verify=context).raise_for_status().json()
    endpoint = smart["token_endpoint"]
    now = int(time.time())
    claims = {"iss": client, "sub": client, "aud": endpoint, "exp": now + 240, "iat": now, "jti": str(uuid.uuid4())}
    key = (pathlib.Path(folder) / f"{kid}.pem").read_text()
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.write",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid}),
    }
    answer = httpx.post(endpoint, data=form, verify=context).raise_for_status().json()
    assert answer["token_type"].lower() == "bearer" and answer["expires_in"] <= 300, answer
    return answer["access_token"]


def smart(url, ca, folder, client):
    for algorithm, kid in (("RS384", "rsa"), ("ES384", "ec")):
        bearer = f"Bearer {token(url, ca, folder, client, algorithm, kid)}"
        server = SyncFHIRClient(f"{url}/fhir", authorization=bearer, requests_config={"verify": ca})
        patient = server.resource("Patient", active=True, gender="female", name=[{"text": f"Test {kid}"}])
        patient.save()
        created = patient["id"]
        patient["active"] = False
        patient.save()
        entries = [
            {
                "fullUrl": f"urn:uuid:{uuid.uuid4()}",
                "resource": {"resourceType": "Basic", "code": {"text": f"{kid} {n}"}},
                "request": {"method": "POST", "url": "Basic"},
            }
            for n in range(3)
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = server.execute("", method="post", data=bundle)
        try:
            server.resource("Patient", gender="F").save()
            refused = None
        except OperationOutcome as outcome:
            refused = outcome.resource["issue"][0]["code"]
        line = {
            "algorithm": algorithm,
            "created": created,
            "updated": patient["id"],
            "transaction": [entry["response"]["location"] for entry in answer["entry"]],
            "refused": refused,
        }
        print(json.dumps(line), flush=True)


def load(url, ca, cert, key, count):
    deadline = time.monotonic() + PATIENCE_S
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    client = None
    for n in range(int(count)):
        # The base64 has characters that a careless log would break.
        body = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "valueString": base64.b64encode(f"{n}: ä\n".encode()).decode(),
        }
        text = json.dumps(body, ensure_ascii=False).encode()
        while True:
            try:
                if client is None:
                    client = httpx.Client(http2=True, verify=context, timeout=10)
                headers = {"content-type": "application/fhir+json", "prefer": "return=minimal"}
                answer = client.post(f"{url}/fhir/Observation", content=text, headers=headers)
                assert answer.http_version == "HTTP/2", answer.http_version
                if answer.status_code == 201:
                    break
                assert answer.status_code in (500, 503, 507), (answer.status_code, answer.text)
            except httpx.TransportError as error:
                client = None
                assert time.monotonic() < deadline, f"no answer to {n}: {error}"
            time.sleep(0.05)
        identifier = answer.headers["location"].rsplit("/", 1)[1]
        print(json.dumps({"n": n, "id": identifier, "body": text.hex()}), flush=True)


if __name__ == "__main__":
    {"keys": keys, "smart": smart, "load": load}[sys.argv[1]](*sys.argv[2:])
