"""Makes words.txt: `python3 generate.py NAMES_ARCHIVE WORDLIST_ARCHIVE > words.txt`.

Refuses other archives than those whose hashes stand here. Needs nothing but Python.
"""

import hashlib
import json
import sys
import tarfile

NAMES = "726e46254f2ed03f1ffb5d941dae3bc67c35123941c29becd02d48d0caa2a671"
WORDS = "478eb732b831172d8212d26628fab33df08585b821fcfffa871760e060c76432"
# SCOWL's sizes: up to 50, the words that most readers know.
SIZES = (10, 20, 35, 40, 50)
GIVEN, SURNAME, WORD = 1, 2, 4


def archive(path, sha256):
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != sha256:
        sys.exit(f"{path}: SHA-256 is {found}, not {sha256}")
    return tarfile.open(path)


def main():
    flags = {}

    def add(word, flag):
        if len(word) > 1 and word.isascii() and word.isalpha() and word == word.lower():
            flags[word] = flags.get(word, 0) | flag

    names = archive(sys.argv[1], NAMES)
    for file, flag in (("male.first", GIVEN), ("female.first", GIVEN), ("all.last", SURNAME)):
        for line in names.extractfile(f"names-0.3.0/names/dist.{file}").read().decode("ascii").splitlines():
            add(line.split()[0].lower(), flag)
    words = archive(sys.argv[2], WORDS)
    for size in SIZES:
        for kind in ("english", "american"):
            for word in json.load(words.extractfile(f"package/{kind}-words-{size}.json")):
                add(word, WORD)
    for word in sorted(flags):
        print(f"{word} {flags[word]}")


main()
