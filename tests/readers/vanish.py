"""A sender that vanishes: its end of the wire is pulled, no FIN and no RST comes.

    unshare --user --map-root-user --net … vanish.py WARDGATE PORT OPERATIONS

Runs in a network namespace of its own, makes a second one for the sender, joins the two by a wire, starts the gateway
of ./gateway.toml, connects, sends the beginning of nothing, pulls the wire, and prints `{"seconds"}` until the gateway
has given the place back. Exit code 77 where such namespaces cannot be made.
"""

import json
import subprocess
import sys
import time
import urllib.request

PATIENCE_S = 150


def ip(*words: str, inside: int | None = None) -> None:
    within = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    subprocess.run([*within, "ip", *words], check=True, capture_output=True)


def connections(operations: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{operations}/status", timeout=5) as answer:
        return json.load(answer)["feeds"][0]["connections"]


def until(what: str, holds) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{what} did not come")


SENDER = """
import socket, sys, time
line = socket.create_connection(("10.99.0.1", int(sys.argv[1])))
time.sleep(1000)
"""


def main() -> int:
    wardgate, port, operations = sys.argv[1:]
    far = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    programs = [far]
    try:
        try:
            time.sleep(0.5)
            ip("link", "set", "lo", "up")
            ip("link", "add", "near", "type", "veth", "peer", "name", "far")
            ip("link", "set", "far", "netns", str(far.pid))
            ip("addr", "add", "10.99.0.1/24", "dev", "near")
            ip("link", "set", "near", "up")
            ip("addr", "add", "10.99.0.2/24", "dev", "far", inside=far.pid)
            ip("link", "set", "far", "up", inside=far.pid)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no namespaces: {error}", file=sys.stderr)
            return 77
        programs.append(subprocess.Popen([wardgate, "run", "--config", "gateway.toml"], stderr=subprocess.DEVNULL))
        until("the gateway", lambda: connections(operations) == 0)
        enter = ["nsenter", f"--net=/proc/{far.pid}/ns/net", sys.executable, "-c", SENDER, port]
        programs.append(subprocess.Popen(enter))
        until("the connection", lambda: connections(operations) == 1)
        ip("link", "set", "far", "down", inside=far.pid)
        begun = time.monotonic()
        until("the place", lambda: connections(operations) == 0)
        print(json.dumps({"seconds": time.monotonic() - begun}))
        return 0
    finally:
        for program in reversed(programs):
            program.kill()
            program.wait()


if __name__ == "__main__":
    sys.exit(main())
