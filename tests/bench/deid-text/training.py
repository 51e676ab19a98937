"""Labelled notes to train on: other templates, names and formats than those of the benchmark's two splits.

    training.py [--seed N] [--documents N] > DOCUMENTS.jsonl

The carriers are what the corpus gives for training (never its validation files), of the third that `carriers.py` does not
keep for the test: notes, and what was said in the room. Names are of `third_party/words` and of Faker without those that the
test may use, and of syllables. Identifiers are made by grammar (training_forms.py), so that hardly two look the same; the
sentences are in training_texts.py. The same seed gives the same documents. Nothing here knows what finds them.
"""

import argparse
import csv
import json
import random
import re
import sys

import carriers
import generate
import labels
import training_forms
import training_texts

SEED = 20_260
DOCUMENTS = 30_000
WEAR = generate.Wear(capitals=0.10, small=0.08, scanned=0.10, wrapped=0.2, misread=0.02, widths=(50, 90))
# Most sentences of a carrier in one document.
CARRIER_SENTENCES = 14

CHOICE = re.compile(r"⟨([^⟨⟩]*)⟩")
SLOT = re.compile(r"\{(\w+)\}")
TRAINING_FILES = [("aci-bench/train.csv", "note"), ("aci-bench/train.csv", "dialogue"),
                  ("mts-dialog/MTS-Dialog-TrainingSet.csv", "section_text"),
                  ("mts-dialog/MTS-Dialog-TrainingSet.csv", "dialogue")]
SPEAKER = re.compile(r"^(\[\w+\]|\w+:) *", re.MULTILINE)


def clean_notes():
    """`[sentence, …]` for each note to train on."""
    texts, small = [], set()
    for path, column in TRAINING_FILES:
        with open(carriers.corpus() / path, encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                note = row["note" if path.startswith("aci") else "section_text"].replace("\r\n", "\n")
                text = row[column].replace("\r\n", "\n")
                small.update(word for word in carriers.WORD.findall(text) if word.islower())
                if carriers.split_of(note) != "test":
                    texts.append(SPEAKER.sub("", text) if column == "dialogue" else text)
    result = []
    for text in texts:
        kept = [sentence.strip(" \t") for sentence in carriers.SENTENCE.findall(text)]
        kept = [sentence for sentence in kept if sentence == "\n" or carriers.clean(sentence, small)]
        if sum(len(sentence) for sentence in kept) >= 60:
            result.append(kept)
    return result


class Writer:
    """Writes the documents."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.notes = clean_notes()
        self.forms = training_forms.Forms(self.random)

    def document(self, number):
        """One document, by a number that becomes its name."""
        pick, dice, people = self.random.choice, self.random.random, {}
        note = pick(self.notes)
        start = self.random.randrange(max(1, len(note) - CARRIER_SENTENCES))
        body = list(note[start:start + self.random.randint(1, CARRIER_SENTENCES)])
        for _ in range(self.random.randint(2, 8)):
            table = training_texts.SENTENCES if dice() < 0.75 else training_texts.EVERYDAY
            body.insert(self.random.randint(0, len(body)), self.fill(pick(table), people))
        for _ in range(self.random.randint(2, 6)):
            body.insert(self.random.randint(0, len(body)), self.fill(pick(training_texts.NOTHING), people))
        marked = ""
        if dice() < 0.5:
            marked += self.block(people)
        for sentence in body:
            marked += sentence if sentence.endswith("\n") else sentence + pick([" ", " ", " ", " ", "  ", "\n"])
        if dice() < 0.4:
            marked += "\n" + self.block(people, training_texts.CLOSING)
        document = labels.parse(f"training-{number}", marked)
        return WEAR.disturbed(document, self.random)

    def block(self, people, table=None):
        """Labels with their values, as the head of a chart has them."""
        pick = self.random.choice
        between, end = pick([": ", ": ", ": ", ":", " ", " - ", "\t", ":\t", " | ", " = ", " ....... ", "# ", " : "]), pick(
            ["\n", "\n", "\n", "\n", "; ", ", ", "   ", " | ", "\t", ". "])
        lines = []
        for _ in range(self.random.randint(1, 9)):
            label, value = pick(table or training_texts.LABELLED)
            label = self.expand(label)
            label = pick([label, label, label.lower(), label.upper(), label.title()])
            lines.append(label + between + self.fill(value, people))
        return end.join(lines) + pick(["\n", "\n\n", ". "])

    def expand(self, template):
        """Choices made, from the innermost."""
        while CHOICE.search(template):
            template = CHOICE.sub(lambda found: self.random.choice(found.group(1).split("|")), template)
        return template

    def fill(self, template, people):
        """A template with its choices made and its slots filled."""
        return SLOT.sub(lambda slot: self.forms.slot(slot.group(1), people), self.expand(template))


def documents(seed=SEED, count=DOCUMENTS):
    """The documents of a seed."""
    writer = Writer(seed)
    return [writer.document(number) for number in range(count)]


def main():
    """Prints documents."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    arguments.add_argument("--seed", type=int, default=SEED)
    arguments.add_argument("--documents", type=int, default=DOCUMENTS)
    given = arguments.parse_args()
    for document in documents(given.seed, given.documents):
        sys.stdout.write(json.dumps(document.json(), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
