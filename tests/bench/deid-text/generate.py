"""Labelled notes: identifiers of a split's own names and formats in sentences of its own, within notes of the corpus.

    generate.py --split dev|test [--seed N] [--documents N] > DOCUMENTS.jsonl

The two splits have no note, name, sentence, list of places or format in common (formats.py names two exceptions). The same
seed gives the same documents. Nothing here knows what finds them.
"""

import argparse
import json
import random
import re
import sys
import textwrap
import typing

import carriers
import formats
import labels
import pools
import templates

DOCUMENTS = 1_000
SEEDS = {"dev": 20_261, "test": 20_262}
ALIKE = dict(zip("0O1lI5S8B6G2Zce", "O0l1lS5B8G6Z2ec", strict=True))

SLOT = re.compile(r"\{(\w+)\}")


class Writer:
    """Writes the documents of one split."""

    def __init__(self, split, seed, notes):
        self.random = random.Random(seed)
        self.split, self.notes = split, notes
        self.pools = pools.Pools(split, self.random)
        self.formats = formats.Formats(self.pools, self.random)

    def document(self, number):
        """One document, by a number that becomes its name."""
        people = {}
        pick, dice = self.random, self.random.random
        body = list(pick.choice(self.notes))
        for _ in range(pick.randint(2, 5)):
            body.insert(pick.randint(0, len(body)), self.fill(pick.choice(templates.SENTENCES[self.split]), people))
        for _ in range(pick.randint(1, 3)):
            body.insert(pick.randint(0, len(body)), pick.choice(templates.NEGATIVES[self.split]))
        marked = ""
        if dice() < 0.35:
            marked += self.fill(pick.choice(templates.HEADERS[self.split]), people)
        for sentence in body:
            marked += sentence if sentence.endswith("\n") else sentence + " "
        if dice() < 0.25:
            marked += self.fill(pick.choice(templates.FOOTERS[self.split]), people)
        return WEAR.disturbed(labels.parse(f"{self.split}-{number}", marked), self.random)

    def fill(self, template, people):
        """A template with its slots filled; `people` are those of the document."""
        they, their = people.setdefault("words", self.random.choice([("she", "her"), ("he", "his"), ("they", "their")]))

        def person(role):
            if role not in people:
                given, middle, family = self.pools.person()
                # Most relatives share the patient's name.
                if role == "relative" and self.random.random() < 0.6:
                    family = person("patient")[2]
                people[role] = (given, middle, family)
            return people[role]

        def one(slot):
            name = slot.group(1)
            match name:
                case "they" | "their" | "They":
                    return {"they": they, "their": their, "They": they.capitalize()}[name]
                case "patient" | "doctor" | "nurse" | "relative" | "friend":
                    return f"[[NAME:{self.formats.name(person(name))}]]"
                case "Patient_upper":
                    return "[[NAME:{0} {2}]]".format(*(part.upper() for part in person("patient")))
                case "last" | "doctor_last":
                    return f"[[NAME:{person('patient' if name == 'last' else 'doctor')[2]}]]"
                case "first" | "relative_first":
                    return f"[[NAME:{person('patient' if name == 'first' else 'relative')[0]}]]"
                case "initials":
                    return f"[[NAME:{self.formats.name(person('patient'), formats.INITIALS)}]]"
                case "date" | "born":
                    years = (1936, 2015) if name == "born" else (2012, 2025)
                    return f"[[DATE:{self.formats.date(*years)}]]"
                case "age" | "address" | "zip":
                    return f"[[{name.upper()}:{getattr(self.formats, name)()}]]"
                case "city" | "county":
                    table = pools.CITIES if name == "city" else pools.COUNTIES
                    return f"[[CITY:{self.pools.of(table)}]]"
                case "hospital" | "employer":
                    table = pools.HOSPITALS if name == "hospital" else pools.EMPLOYERS
                    return f"[[ORG:{self.pools.fill(self.pools.of(table))}]]"
                case "email" | "url":
                    table = formats.EMAILS if name == "email" else formats.URLS
                    return f"[[{name.upper()}:{self.formats.online(table, person('patient'))}]]"
                case "state" | "payer" | "maker" | "car":
                    table = {"state": pools.STATES, "payer": pools.PLANS, "maker": pools.MAKERS, "car": pools.CARS}[name]
                    return f"<<{self.pools.of(table)}>>"
            return f"[[{name.upper()}:{self.formats.number(name.upper())}]]"

        return SLOT.sub(one, template)


class Wear(typing.NamedTuple):
    """Shares of documents in capitals, in small letters and scanned, and of any that are wrapped; of letters that are misread;
    how wide a wrapped line may be, from and to."""

    capitals: float
    small: float
    scanned: float
    wrapped: float
    misread: float
    widths: tuple[int, int]

    def disturbed(self, document, dice):
        """As charts look. Every change keeps the length, so that all offsets hold."""
        text, fate = document.text, dice.random()
        if fate < self.capitals:
            text = "".join(c.upper() if len(c.upper()) == 1 else c for c in text)
        elif fate < self.capitals + self.small:
            text = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
        elif fate < self.capitals + self.small + self.scanned:
            text = "".join(ALIKE.get(c, c) if dice.random() < self.misread else c for c in text)
        if dice.random() < self.wrapped:
            text = wrapped(text, dice.randint(*self.widths))
        document.text = text
        return document


WEAR = Wear(capitals=0.06, small=0.04, scanned=0.08, wrapped=0.15, misread=0.012, widths=(56, 78))


def wrapped(text, width):
    """Spaces become line ends, so that no line is longer than `width` where it has a space."""
    lines = []
    for line in text.split("\n"):
        while len(line) > width and (at := line.rfind(" ", 0, width)) > 0:
            lines.append(line[:at])
            line = line[at + 1:]
        lines.append(line)
    return "\n".join(lines)


def documents(split, seed=None, count=DOCUMENTS):
    """The documents of a split."""
    writer = Writer(split, SEEDS[split] if seed is None else seed, carriers.carriers(split))
    return [writer.document(number) for number in range(count)]


def main():
    """Prints documents."""
    arguments = argparse.ArgumentParser(description=textwrap.dedent(__doc__).split("\n\n", maxsplit=1)[0])
    arguments.add_argument("--split", choices=["dev", "test"], required=True)
    arguments.add_argument("--seed", type=int)
    arguments.add_argument("--documents", type=int, default=DOCUMENTS)
    given = arguments.parse_args()
    for document in documents(given.split, given.seed, given.documents):
        sys.stdout.write(json.dumps(document.json(), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
