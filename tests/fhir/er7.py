"""HL7 v2 in ER7, split by the letter of the standard's chapter 2; shares nothing with the product's parser.

A message is a list of segments `(name, fields)`; `fields[n]` is field n as a list of repetitions, a repetition a list of
components, a component a list of subcomponents, each a string as it stands between its delimiters.
"""

import codecs
import re

# How a message begins; a file may hold several.
BEGIN = re.compile(rb"(?:^|(?<=[\r\n\x0b]))MSH")
# MSH-18 as senders write it, as Python's codecs call it.
CHARSETS = {
    "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8", "UTF8": "utf-8", "UNICODE": "utf-8", "ASCII": "ascii",
    **{f"8859/{n}": f"iso8859-{n}" for n in range(1, 16)},
}
MARKS = [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")]


def messages(data):
    """The messages of a file, as bytes, without marks of byte order and without MLLP's frame bytes."""
    for mark, codec in MARKS:
        if data.startswith(mark):
            data = data[len(mark):].decode(codec, errors="replace").encode()
            break
    starts = [match.start() for match in BEGIN.finditer(data)]
    for start, end in zip(starts, starts[1:] + [len(data)]):
        yield data[start:end].strip(b"\r\n\x0b\x1c\x00 ")


def text(message):
    """The characters of a message: by MSH-18 where it is true, else UTF-8 where it is, else Latin-1."""
    head = re.split(rb"[\r\n]", message, maxsplit=1)[0]
    fields = head.split(head[3:4]) if len(head) > 3 else []
    named = fields[17].split(b"~")[0].decode("latin-1").strip().upper() if len(fields) > 17 else ""
    for codec in (CHARSETS.get(named), "utf-8"):
        try:
            if codec:
                return message.decode(codec)
        except UnicodeDecodeError:
            continue
    return message.decode("latin-1")


class Message:
    """One message, split."""

    def __init__(self, message):
        self.bytes = message
        lines = [line for line in re.split(r"[\r\n]+", text(message)) if line.strip()]
        head = lines[0]
        self.field_mark = head[3] if len(head) > 3 else "|"
        marks = head[4:].split(self.field_mark)[0]
        self.marks = marks if marks else "^~\\&"
        mark = lambda at: self.marks[at] if len(self.marks) > at else None
        self.component_mark, self.repetition_mark, self.escape_mark, self.sub_mark = map(mark, range(4))
        self.segments = [self.segment(line) for line in lines]
        self.control_id = self.value("MSH", 10)
        self.type = "^".join(filter(None, (self.value("MSH", 9, c) for c in (1, 2)))) or "?"
        self.structure = self.value("MSH", 9, 3)

    def segment(self, line):
        name = line[:3]
        if name == "MSH":
            # MSH-1 is the separator itself; so everything moves by one.
            fields = ["MSH", self.field_mark, self.marks] + line[4:].split(self.field_mark)[1:]
        else:
            fields = line.split(self.field_mark)
            name = fields[0].strip()
        return name, [self.field(value, whole=name == "MSH" and n < 3) for n, value in enumerate(fields)]

    def field(self, value, whole=False):
        if whole:
            return [[[value]]]
        return [[split(component, self.sub_mark) for component in split(repetition, self.component_mark)]
                for repetition in split(value, self.repetition_mark)]

    def value(self, name, field, component=1, sub=1):
        """A value of the first segment of that name; empty where there is none."""
        for found, fields in self.segments:
            if found == name:
                return at(fields, field, 0, component, sub).strip()
        return ""

    def leaves(self):
        """Every value: (index of its segment, its name, field, repetition from 0, component, subcomponent, raw).

        Left out: MSH-1 and MSH-2, which are syntax; what is empty or blank; and `\"\"`, which says "delete".
        """
        for index, (name, fields) in enumerate(self.segments):
            for f, repetitions in enumerate(fields):
                if f == 0 or (name == "MSH" and f < 3):
                    continue
                for r, components in enumerate(repetitions):
                    for c, subs in enumerate(components, 1):
                        for s, raw in enumerate(subs, 1):
                            if raw.strip() not in ("", '""'):
                                yield index, name, f, r, c, s, raw

    def unescaped(self, raw):
        """The characters that a value stands for."""
        mark = self.escape_mark
        if not mark or mark not in raw:
            return raw
        known = {"F": self.field_mark, "S": self.component_mark, "T": self.sub_mark, "R": self.repetition_mark,
                 "E": mark, "H": "", "N": ""}

        def one(match):
            word = match.group(1)
            if word in known and known[word] is not None:
                return known[word]
            if word.startswith("."):
                return "\n" if word[1:3] in ("br", "sp", "ce") else ""
            if word.startswith("X") and re.fullmatch("([0-9A-Fa-f]{2})+", word[1:]):
                data = bytes.fromhex(word[1:])
                try:
                    return data.decode()
                except UnicodeDecodeError:
                    return data.decode("latin-1")
            return match.group(0)

        quoted = re.escape(mark)
        return re.sub(f"{quoted}([^{quoted}]*){quoted}", one, raw)


def split(value, mark):
    return value.split(mark) if mark else [value]


def at(fields, field, repetition, component, sub):
    """A value, or an empty one where there is none."""
    try:
        return fields[field][repetition][component - 1][sub - 1]
    except IndexError:
        return ""
