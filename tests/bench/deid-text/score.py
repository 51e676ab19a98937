"""How a tagger did, by four figures.

Only letters and digits count, so that it does not matter whether a tagger takes the hyphens, spaces and full stops within
and around an identifier. Each of them is one of three kinds: *identifying* (in a gold span and not marked as either way),
*either way*, or *plain*.

character recall     identifying characters that are redacted ÷ all identifying characters
full-span recall     gold spans all of whose identifying characters are redacted ÷ all gold spans
documents with leak  documents of which at least one gold span is not fully redacted ÷ documents that hold a gold span
over-redaction       plain characters that are redacted ÷ all plain characters

Beside them: precision, redacted identifying characters ÷ redacted characters that are not either way. The category that
a tagger gives does not matter: what is gone is gone.
"""

import collections
import dataclasses


@dataclasses.dataclass
class Score:
    """Counts; the figures are made of them."""

    documents: int = 0
    with_gold: int = 0
    leaking: int = 0
    identifying: int = 0
    identifying_redacted: int = 0
    plain: int = 0
    plain_redacted: int = 0
    spans: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    missed: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    partly: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    # (document, start, end, category, characters left), and (document, start, end) of plain text that was taken.
    misses: list = dataclasses.field(default_factory=list)
    taken: list = dataclasses.field(default_factory=list)

    def add(self, document, spans):
        """Counts one document and what a tagger found in it: `(start, end)`, in any order, overlapping or not."""
        size = len(document.text)
        redacted, kind = bytearray(size), bytearray(size)
        for start, end in spans:
            if not 0 <= start <= end <= size:
                raise ValueError(f"{document.id}: span {start}..{end} of a text of {size}")
            redacted[start:end] = b"\1" * (end - start)
        for start, end, _ in document.gold:
            kind[start:end] = b"\1" * (end - start)
        for start, end in document.either:
            kind[start:end] = b"\2" * (end - start)
        counts = [character.isalnum() for character in document.text]
        self.documents += 1
        leaks = False
        for start, end, category in document.gold:
            of_it = [at for at in range(start, end) if counts[at] and kind[at] == 1]
            left = sum(not redacted[at] for at in of_it)
            self.identifying += len(of_it)
            self.identifying_redacted += len(of_it) - left
            self.spans[category] += 1
            if left:
                leaks = True
                self.missed[category] += 1
                self.partly[category] += left < len(of_it)
                self.misses.append((document, start, end, category, left))
        self.with_gold += bool(document.gold)
        self.leaking += leaks
        run = None
        for at in range(size + 1):
            plain = at < size and counts[at] and kind[at] == 0
            self.plain += plain
            if plain and redacted[at]:
                self.plain_redacted += 1
                run = at if run is None else run
            elif run is not None and (at == size or not redacted[at] or kind[at]):
                self.taken.append((document, run, at))
                run = None

    def figures(self):
        """The figures, in percent; None where there is nothing to divide by."""
        def percent(part, whole):
            return 100 * part / whole if whole else None

        fully = sum(self.spans.values()) - sum(self.missed.values())
        return {
            "documents": self.documents,
            "spans": sum(self.spans.values()),
            "character_recall": percent(self.identifying_redacted, self.identifying),
            "full_span_recall": percent(fully, sum(self.spans.values())),
            "documents_with_leak": percent(self.leaking, self.with_gold),
            "over_redaction": percent(self.plain_redacted, self.plain),
            "precision": percent(self.identifying_redacted, self.identifying_redacted + self.plain_redacted),
        }


def score(documents, found):
    """`found` gives the spans of each document by its id. A document that a tagger did not answer for raises KeyError:
    silence is not an answer."""
    total = Score()
    for document in documents:
        total.add(document, found[document.id])
    return total
