"""Holds FHIR R4 resources against validators that share no code with us, nor with each other.

    validate.py [--hapi DIR] [--only NAME,…] [--hapi-every N] [--json] [FILE]      # NDJSON; standard input without FILE

`hapi`     HAPI's instance validator around HL7's own validator core (`hapi/`, built into DIR by Maven)
`schema`   the JSON Schema of R4, run by ajv
`medplum`  @medplum/core
`fhir`     the npm package of that name
`links`    here: every reference names a resource of the same Bundle (to the others, one that is not there may be
           elsewhere); a converter's Bundle stands for itself

Prints which resources each one refuses and why, grouped; with --json a line per resource. Exit code 1 where any
resource has an error. What counts as an error is said in `hapi/…/Validate.java` and `node/validate.mjs`; the one thing
taken away here is in `FALSE_ALARMS`.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
NODE = ("schema", "medplum", "fhir")
NAMES = ("hapi", *NODE, "links")
# What a validator says of resources that the specification's own validator and text call valid: (validator, pattern
# of the text, why it is no error).
FALSE_ALARMS = []
EXAMPLES_MAX = 3


def hapi_home(told):
    """Where Maven has put the validator: what was told, the environment, or the usual target directory."""
    home = told or os.environ.get("WARDGATE_FHIR_HAPI")
    home = pathlib.Path(home) if home else HERE.parents[1] / "target/fhir-hapi"
    if not (home / "lib").is_dir():
        sys.exit(f"no validator in {home}: `cargo xtask test --stage setup` builds it, or name it with --hapi")
    return home


def run(command, lines, cwd=None):
    """The JSON lines that a filter prints for `lines`."""
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # Each stream has its thread, so that no pipe fills up.
    fed = threading.Thread(target=feed, args=(process.stdin, lines))
    complaint = []
    heard = threading.Thread(target=lambda: complaint.append(process.stderr.read()))
    fed.start()
    heard.start()
    out = [json.loads(line) for line in process.stdout]
    fed.join()
    heard.join()
    if process.wait() != 0 or len(out) != len(lines):
        text = complaint[0].decode(errors="replace")[-2000:]
        sys.exit(f"{command[0]} answered {len(out)} of {len(lines)} and ended with {process.returncode}: {text}")
    return out


def feed(pipe, lines):
    try:
        for line in lines:
            pipe.write(line.encode() + b"\n")
        pipe.close()
    except BrokenPipeError:
        pass  # the reader says why


def dangling(bundle):
    """References that lead to no resource of the Bundle, with their places."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return
    there = set()
    for entry in bundle.get("entry", []):
        resource = entry.get("resource", {})
        there |= {entry.get("fullUrl"), f"{resource.get('resourceType')}/{resource.get('id')}"}
    for at, reference, contained in references(bundle, "", ()):
        target = reference.split("|")[0]
        if target not in there and target not in contained:
            yield at, "reference to nothing in the Bundle"


def references(value, at, contained):
    """Each `reference`, its place, and the ids that its own resource contains."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, f"{at}/{index}", contained)
    elif isinstance(value, dict):
        if isinstance(value.get("contained"), list):
            contained = {"#"} | {f"#{inner.get('id')}" for inner in value["contained"] if isinstance(inner, dict)}
        if isinstance(value.get("reference"), str):
            yield f"{at}/reference", value["reference"], contained
        for name, item in value.items():
            yield from references(item, f"{at}/{name}", contained)


def false_alarm(name, text):
    return any(name == who and re.search(pattern, text) for who, pattern, _ in FALSE_ALARMS)


def validate(lines, names=NAMES, hapi=None, hapi_every=1):
    """For each line `{validator: [{"at", "text"}]}`, and how many warnings `hapi` has. It is the slow one, and may be
    given one resource in `hapi_every`."""
    lines = [line for line in (line.strip() for line in lines) if line]
    issues = [{name: [] for name in names} for _ in lines]
    warnings = 0
    if "hapi" in names:
        java = ["java", "-Xmx2g", "-cp", str(hapi_home(hapi) / "lib") + "/*", "peers.Validate"]
        for found, answer in zip(issues[::hapi_every], run(java, lines[::hapi_every])):
            found["hapi"] = [{"at": e["at"], "text": f"{e['id']}: {e['text']}"} for e in answer["errors"]]
            warnings += answer["warnings"]
    in_node = [name for name in NODE if name in names]
    if in_node:
        for found, answer in zip(issues, run(["node", "validate.mjs", *in_node], lines, cwd=HERE / "node")):
            found.update({name: answer[name] for name in in_node})
    if "links" in names:
        for found, line in zip(issues, lines):
            found["links"] = [{"at": at, "text": text} for at, text in dangling(json.loads(line))]
    for found in issues:
        for name in names:
            found[name] = [issue for issue in found[name] if not false_alarm(name, issue["text"])]
    return issues, warnings


def grouped(issues):
    """The kinds of errors, the most frequent first: (validator, place without numbers, text without values)."""
    kinds = collections.defaultdict(list)
    for index, found in enumerate(issues):
        for name, list_of in found.items():
            for issue in list_of:
                place = re.sub(r"/\*.*?\*/|\[\d+\]|/\d+", "", issue["at"])
                text = re.sub(r"'[^']*'|\"[^\"]*\"|#\S+|\b[0-9a-f-]{36}\b|\d+", "…", issue["text"])
                kinds[name, place, text[:200]].append((index, issue))
    return sorted(kinds.items(), key=lambda kind: -len(kind[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hapi")
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--hapi-every", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("file", nargs="?")
    arguments = parser.parse_args()
    names = tuple(arguments.only.split(","))
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such validator: {', '.join(sorted(unknown))}")
    text = pathlib.Path(arguments.file).read_text() if arguments.file else sys.stdin.read()
    lines = [line for line in text.split("\n") if line.strip()]
    issues, warnings = validate(lines, names, arguments.hapi, arguments.hapi_every)
    refused = sum(1 for found in issues if any(found.values()))
    if arguments.json:
        for index, found in enumerate(issues):
            print(json.dumps({"index": index, **found}))
    else:
        for (name, place, text), cases in grouped(issues):
            print(f"{len(cases):6} {name:8} {place}\n       {text}")
            for index, issue in cases[:EXAMPLES_MAX]:
                print(f"         {index}: {issue['at']}: {issue['text'][:160]}")
        each = ", ".join(f"{name} {sum(1 for found in issues if found[name])}" for name in names)
        seen = f" (saw {len(lines[::arguments.hapi_every])})" if arguments.hapi_every > 1 else ""
        print(f"{len(lines)} resources, refused {refused}: {each}{seen}; warnings of hapi {warnings}")
    return 1 if refused or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
