"""The conditions of the official maps (column "Computable ANTLR"), as far as they can be computed.

`holds(condition, lookup)` is True or False; what this reader does not understand holds, so that the place a row names
is allowed rather than forbidden. `lookup(reference)` gives the values at a place such as `OBX-5.1` or `CWE.3`, one for each
repetition; a reference of None is the place that the row itself is about.
"""

import re

TOKEN = re.compile(r"""\s*(?:("[^"]*"|'[^']*'|[A-Z]"(?=\)))|([(),=>])|([A-Za-z0-9_.\-]+))""")
REFERENCE = re.compile(r"[A-Z][A-Z0-9]{1,2}[.\-]\d+(\.\d+)*$")
NOISE = {"IF", "THEN", "AREA", "ERROR"}


class NotUnderstood(Exception):
    """The words make no condition that is known here."""


def holds(condition, lookup):
    try:
        parser = Parser(condition, lookup)
        value = parser.either()
        if parser.tokens:
            raise NotUnderstood
        return value
    except (NotUnderstood, IndexError, ValueError):
        return True


def tokens(condition):
    found, position = [], 0
    condition = condition.replace("NOT VALUED AND NOT", "NOT VALUED AND NOT").replace("PL3.NOT", "PL.3 NOT")
    condition = condition.strip()
    while position < len(condition):
        match = TOKEN.match(condition, position)
        if not match:
            raise NotUnderstood
        position = match.end()
        quoted, symbol, word = match.groups()
        if quoted is not None:
            found.append(("text", quoted.strip("\"'")))
        elif symbol:
            found.append(("symbol", symbol))
        elif REFERENCE.match(word):
            found.append(("reference", word))
        elif word.upper() not in NOISE:
            found.append(("word", word.upper()))
    return found


class Parser:
    """Recursive descent; OR binds least."""

    def __init__(self, condition, lookup):
        self.tokens = tokens(condition)
        self.lookup = lookup
        self.last = None

    def next_is(self, *words):
        return bool(self.tokens) and self.tokens[0][1] in words and self.tokens[0][0] in ("word", "symbol")

    def take(self, *words):
        if self.next_is(*words):
            return self.tokens.pop(0)[1]
        return None

    def either(self):
        value = self.both()
        while self.take("OR"):
            value = self.both() or value
        return value

    def both(self):
        value = self.one()
        # "A NOT VALUED B NOT VALUED" stands for both.
        while self.take("AND") or (self.tokens and self.tokens[0][0] == "reference"):
            value = self.one() and value
        return value

    def one(self):
        if self.take("("):
            value = self.either()
            # One row of the maps forgets to close.
            if self.tokens and not self.take(")"):
                raise NotUnderstood
            return value
        return self.predicate()

    def predicate(self):
        references, joined = [], None
        while self.tokens and self.tokens[0][0] == "reference":
            references.append(self.tokens.pop(0)[1])
            if self.next_is("AND", "OR") and self.tokens[1][0] == "reference":
                joined = self.take("AND", "OR")
                continue
            break
        if not references:
            references = [self.last]
        self.last = references[-1]
        test = self.test()
        results = [test([value.strip() for value in self.lookup(reference)]) for reference in references]
        return any(results) if joined == "OR" else all(results)

    def test(self):
        counted = None
        if self.take("LST.COUNT", "COUNT"):
            counted = lambda values: len([value for value in values if value])
        elif self.take("LENGTH"):
            counted = lambda values: len(values[0]) if values else 0
        if counted:
            return self.comparison(counted)
        self.take("IS", "DOES")
        negative = bool(self.take("NOT"))
        self.take("IS")
        if self.take("VALUED", "VALUE", "EXIST", "EXISTS"):
            # "IS VALUED NOT EQUAL …" asks for more than this; what it allows besides does no harm.
            if self.next_is("NOT") and len(self.tokens) > 1 and self.tokens[1][1] in ("EQUAL", "EQUALS"):
                raise NotUnderstood
            result = lambda values: any(values)
        elif self.take("EMPTY"):
            result = lambda values: not any(values)
        elif self.take("IN"):
            if not self.take("("):
                raise NotUnderstood
            allowed = []
            while not self.take(")"):
                kind, value = self.tokens.pop(0)
                if kind == "text":
                    allowed.append(value)
            result = lambda values: any(value in allowed for value in values)
        else:
            self.take("EQUALS", "EQUAL", "=")
            self.take("TO")
            kind, wanted = self.tokens.pop(0)
            if kind != "text":
                raise NotUnderstood
            result = lambda values: any(value == wanted for value in values)
        return (lambda values: not result(values)) if negative else result

    def comparison(self, counted):
        if self.take("GREATER"):
            self.take("THAN")
            more = True
        elif self.take(">"):
            more = True
        elif self.take("EQUALS", "="):
            more = False
        else:
            raise NotUnderstood
        number = int(self.tokens.pop(0)[1])
        return lambda values: counted(values) > number if more else counted(values) == number
