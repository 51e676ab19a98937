"""How well free text is scrubbed: labelled documents through a program, and four figures with the misses by category.

    bench.py --wardgate PROGRAM [--documents N] [--json]

The documents: notes of the corpus with generated identifiers (generate.py), the half whose names and formats the rules
were fitted to (`dev`) and the one they were not (`test`); presidio-research, in halves by hash; the red-team set. No text is
printed, so that nobody fits rules to one document of a test.

Beside it, on the same documents, what may be had of Presidio and philter-lite from a package registry: Presidio without a model
for names and places (none of spaCy's is there), philter-lite with its patterns and word lists and, for want of NLTK's tagger, with
no parts of speech but numbers.
"""

import argparse
import hashlib
import json
import logging
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import carriers
import generate
import labels
import score

# So many bytes of notes measure the speed.
SPEED_BYTES = 4 << 20
# The others are slow: so many of the generated documents for it, and for us beside it.
PEER_DOCUMENTS = 200
# Longest that one of them may read a document; those without an answer are left out of its figures.
PEER_SECONDS_MAX = 2
# What stays: a title, a nationality or religion, an age below 90, the year of a date.
FREE = {"TITLE", "NRP"}
OLD = re.compile(r"\b(9\d|1[01]\d)\b")
YEAR = re.compile(r"(?<!\d)(18|19|20)\d\d(?!\d)")


def presidio_research(half):
    """The documents of one half."""
    path = carriers.corpus() / "presidio-research/data/synth_dataset_v2.json"
    found = []
    for number, value in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        text = value["full_text"]
        if hashlib.sha256(text.encode()).digest()[0] % 2 != half:
            continue
        gold, either = [], []
        for span in sorted(value["spans"], key=lambda span: span["start_position"]):
            start, end, kind = span["start_position"], span["end_position"], span["entity_type"]
            if kind in FREE or kind == "AGE" and not OLD.search(text[start:end]):
                either.append((start, end))
                continue
            gold.append((start, end, kind))
            if kind == "DATE_TIME":
                either += [(start + year.start(), start + year.end()) for year in YEAR.finditer(text[start:end])]
        found.append(labels.Document(f"presidio-{number}", text, gold, either))
    return found


def red_team():
    """The attacks and the hard negatives. A value that does not stand in its text as it is written is left out."""
    found = []
    folder = carriers.corpus() / "openmed-redteam"
    for line in (folder / "adversarial_phi.jsonl").read_text(encoding="utf-8").splitlines():
        value = json.loads(line)
        gold = []
        for wanted in value["expected_protected"]:
            at = value["text"].find(wanted["value"])
            if at >= 0:
                gold.append((at, at + len(wanted["value"]), wanted["label"]))
        found.append(labels.Document(value["id"], value["text"], gold, []))
    fixtures = json.loads((folder / "hard_negatives.json").read_text(encoding="utf-8"))["fixtures"]
    for value in fixtures:
        gold = [(span["start"], span["end"], span["label"]) for span in value["gold_spans"]]
        found.append(labels.Document(value["id"], value["text"], gold, []))
    return found


def scrubbed(program, documents):
    """The spans of each document by its id, and the processor time of it."""
    lines = "".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in documents)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ran = subprocess.run([program, "deid", "run", "--policy", "safe-harbor", "--format", "text"], input=lines,
                         capture_output=True, text=True, check=False)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    found = {}
    for line in ran.stdout.splitlines():
        value = json.loads(line)
        found[value["id"]] = [(span["begin"], span["end"]) for span in value["spans"]]
    if len(found) != len(documents):
        sys.exit(f"{len(found)} of {len(documents)} documents were answered: {ran.stderr.strip()}")
    return found, seconds


def presidio():
    """Presidio's patterns."""
    import presidio_analyzer
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    logging.disable(logging.CRITICAL)

    class Patterns(SpacyNlpEngine):
        """Words alone."""

        def __init__(self):
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}

        def load(self):
            """There is nothing to load."""

    registry = presidio_analyzer.RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    engine = presidio_analyzer.AnalyzerEngine(registry=registry, nlp_engine=Patterns(), supported_languages=["en"])
    return lambda text: [(found.start, found.end) for found in engine.analyze(text, language="en")]


def philter():
    """philter-lite's own filters. Of the parts of speech it asks for it gets numbers alone."""
    import nltk
    import philter_lite

    nltk.pos_tag = lambda words: [(word, "CD" if any(c.isdigit() for c in word) else "") for word in words]
    filters = philter_lite.load_filters(str(pathlib.Path(philter_lite.__file__).parent / "configs/philter_delta.toml"))

    def spans(text):
        _, _, found = philter_lite.detect_phi(text, patterns=filters)
        return [(part.start, part.stop) for part in found.phi]

    return spans


def within(seconds, peer, text):
    """What it finds, or None where that takes too long: some expressions of others take for ever."""
    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return peer(text)
    except TimeoutError:
        return None
    finally:
        signal.alarm(0)


def main():
    """Prints the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    arguments.add_argument("--wardgate", required=True)
    arguments.add_argument("--documents", type=int, default=generate.DOCUMENTS)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    sets = {
        "generated, dev": generate.documents("dev", count=given.documents),
        "generated, test": generate.documents("test", count=given.documents),
        "presidio-research, half 0": presidio_research(0),
        "presidio-research, half 1": presidio_research(1),
        "red team": red_team(),
    }
    result = {}

    def add(name, documents, found):
        total = score.score(documents, found)
        missed = {kind: [count, total.spans[kind]] for kind, count in total.missed.most_common()}
        result[name] = {**total.figures(), "missed": missed}

    for name, documents in sets.items():
        add(name, documents, scrubbed(given.wardgate, documents)[0])
    few = sets["generated, test"][:PEER_DOCUMENTS]
    add(f"{len(few)} of the test", few, scrubbed(given.wardgate, few)[0])
    for name, peer in (("Presidio", presidio()), ("philter-lite", philter())):
        begun = time.process_time()
        found = {one.id: within(PEER_SECONDS_MAX, peer, one.text) for one in few}
        seconds = time.process_time() - begun
        answered = [one for one in few if found[one.id] is not None]
        add(f"{len(answered)} of these by {name}", answered, found)
        result[f"{name} MB/s"] = sum(len(one.text.encode()) for one in answered) / 1e6 / seconds
    notes = sets["generated, test"]
    size = sum(len(one.text.encode()) for one in notes)
    times = max(1, SPEED_BYTES // size)
    many = [labels.Document(f"{turn}-{one.id}", one.text, [], []) for turn in range(times) for one in notes]
    result["megabytes_per_s"] = times * size / 1e6 / max(scrubbed(given.wardgate, many)[1], 1e-9)
    if given.json:
        print(json.dumps(result))
        return
    def percent(value):
        return "     -" if value is None else f"{value:6.2f}"

    print(f"{'in percent':28}character  full spans  documents  over-redaction")
    for name, figures in result.items():
        if isinstance(figures, float):
            continue
        columns = ["character_recall", "full_span_recall", "documents_with_leak", "over_redaction"]
        print(f"{name:28}" + "     ".join(percent(figures[column]) for column in columns))
        misses = ", ".join(f"{kind} {count} of {of}" for kind, (count, of) in figures["missed"].items())
        print(f"    missed: {misses or 'nothing'}")
    for name in ("Presidio", "philter-lite"):
        print(f"{name} {result[f'{name} MB/s']:.3f} MB/s of processor time")
    print(f"{result['megabytes_per_s']:.1f} MB/s of processor time, JSON and the output gate included")


if __name__ == "__main__":
    main()
