"""What stands where in a Bundle, and whether a v2 value stands in one of some places.

Values are compared as what they mean: a date as a date, a number as a number, a telephone number by its digits, a code
also through the official code maps, text without regard to white space. Text may stand inside longer text, as whole words.
"""

import base64
import binascii
import collections
import datetime
import decimal
import re
import unicodedata
import urllib.parse

# Not the patient's data: the plumbing of FHIR itself. A value found only there is lost.
PLUMBING = {"reference", "fullUrl", "id", "div", "profile"}
# Resources that could carry anything, keyed by where it came from.
CARRIERS = {"Parameters", "OperationOutcome", "Binary", "QuestionnaireResponse"}
# Observations that say one by one what nothing more specific could take: `code.text` of such a one begins so. Counted apart.
DETAILS = "Further details"
# A code, name or label that is a place in a v2 message: what stands beside it is a list of left-overs.
V2_PLACE = re.compile(r"^[A-Z][A-Z0-9]{2}([-.]\d+)(\[\d+\])?([.\-]\d+)*$")
# Shorter values are found in longer text only where the map names the element.
CONTAINED_CHARACTERS_MIN = 4

DATE = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d+))?)?)?)?)?)?([+-]\d{4})?$")
FHIR_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d))?)?)?$")
TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d+))?)?)?([+-]\d{4})?$")
FHIR_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?$")

# Coding systems as v2 abbreviates them (HL7 table 0396) and as FHIR names them; a part of the name will do.
SYSTEMS = {
    "LN": "loinc.org", "SCT": "snomed.info", "SNM": "snomed.info", "SNM3": "snomed.info", "SNOMED": "snomed.info",
    "MDC": "iso:std:iso:11073:10101", "I9": "icd-9",
    "I9C": "icd-9", "I9CDX": "icd-9", "ICD9": "icd-9", "ICD-9": "icd-9", "I9CP": "icd-9", "I10": "icd-10",
    "I10C": "icd-10", "I10P": "icd-10", "ICD10": "icd-10", "ICD-10": "icd-10", "ICD10CM": "icd-10",
    "C4": "ama-assn.org/go/cpt", "CPT": "ama-assn.org/go/cpt", "CPT4": "ama-assn.org/go/cpt",
    "CVX": "sid/cvx", "MVX": "sid/mvx", "NDC": "sid/ndc", "RXNORM": "rxnorm", "UCUM": "unitsofmeasure.org",
    "ISO+": "unitsofmeasure.org", "CDCREC": "2.16.840.1.113883.6.238", "HCPCS": "hcpcs", "ATC": "whocc.no/atc",
    "UB": "nubc", "UB04": "nubc", "NCI": "ncithesaurus", "NCIT": "ncithesaurus", "UNII": "unii",
    "ISO3166_1": "iso:std:iso:3166", "ISO3166_2": "iso:std:iso:3166:-2",
}

Found = collections.namedtuple("Found", "value words")


class Places:
    """Every value of a Bundle by its place."""

    def __init__(self, bundle, segments):
        # The names of the message's segments, by which a list of left-overs is known.
        self.segments = segments
        # resource → path → values; and the values of all places, by what kind of place it is.
        self.by_place = collections.defaultdict(lambda: collections.defaultdict(list))
        self.elements, self.details, self.extensions, self.carried = [], [], [], []
        self.detailed = False
        if bundle:
            self.resource(bundle, False)
        # A further detail names its field and joins the values of it that are left by blanks: also a short one is one there.
        self.indexes = {kind: Index(values, kind == "detail") for kind, values in self.kinds().items()}

    def kinds(self):
        return {"element": self.elements, "detail": self.details, "extension": self.extensions, "carried": self.carried}

    def resource(self, resource, carried):
        kind = resource.get("resourceType", "?")
        self.detailed = kind == "Observation" and str(resource.get("code", {}).get("text", "")).startswith(DETAILS)
        for name, value in resource.items():
            if name == "entry" and kind == "Bundle":
                for entry in value:
                    if isinstance(entry.get("resource"), dict):
                        self.resource(entry["resource"], carried)
            elif name == "contained":
                for inner in value:
                    self.resource(inner, carried)
            elif name != "resourceType":
                self.value(kind, (name,), value, False, carried or kind in CARRIERS)

    def value(self, kind, path, value, extension, carried):
        name = path[-1]
        if isinstance(value, list):
            for item in value:
                self.value(kind, path, item, extension, carried)
        elif isinstance(value, dict):
            carried = carried or self.labelled(value)
            for inner, item in value.items():
                inside = extension or inner in ("extension", "modifierExtension")
                self.value(kind, path + (inner.lstrip("_"),), item, inside, carried)
        elif name not in PLUMBING and value is not None and not (extension and name == "url"):
            for text in readings(name, value):
                self.add(kind, path, text, extension or path[0].endswith("xtension"), carried)

    def add(self, kind, path, text, extension, carried):
        if re.search(r"(^|[\r\n])MSH\W", str(text)):
            # A copy of the raw message keeps nothing.
            return
        found = Found(text, words(text))
        if carried:
            self.carried.append(found)
        elif self.detailed and path[0] == "component":
            self.details.append(found)
        elif extension:
            self.extensions.append(found)
        else:
            self.elements.append(found)
            self.by_place[kind][path].append(found)

    def labelled(self, value):
        """Whether an object says of itself that it holds a place of the v2 message."""
        coding = value.get("code")
        labels = [value.get("linkId")]
        if isinstance(coding, dict):
            labels.append(coding.get("text"))
            labels += [one.get("code") for one in coding.get("coding", []) if isinstance(one, dict)]
        return any(isinstance(label, str) and V2_PLACE.match(label) and label[:3] in self.segments for label in labels)

    def at(self, resource, path):
        """The values at an element and below it; of any resource where none is named."""
        wild = path[-1:] == ("*",)
        path = path[:-1] if wild else path
        for by_path in [self.by_place.get(resource, {})] if resource else list(self.by_place.values()):
            for place, values in by_path.items():
                if place[:len(path)] == path:
                    for value in values:
                        yield place, value

    def ending(self, suffix):
        """The values of all elements whose path ends so."""
        for by_path in self.by_place.values():
            for path, values in by_path.items():
                if path[-len(suffix):] == suffix:
                    yield from values

    def anywhere(self, forms, kind):
        """Whether a value stands in any place of a kind."""
        return self.indexes[kind].has(forms)


class Index:
    """Values to be looked for wherever they stand; says what `same(forms, found, loose=False)` says of any of them."""

    def __init__(self, values, loose):
        self.least = 1 if loose else CONTAINED_CHARACTERS_MIN
        self.exact = {squeezed(found.value) for found in values if isinstance(found.value, str)}
        self.exact |= {str(found.value).lower() for found in values if isinstance(found.value, bool)}
        self.words = {found.words for found in values if isinstance(found.value, str)}
        self.text = "\n".join(self.words)
        self.numbers = {found.value for found in values
                        if isinstance(found.value, (int, decimal.Decimal)) and not isinstance(found.value, bool)}
        strings = [found for found in values if isinstance(found.value, str)]
        self.names = [found for found in strings if found.value.startswith(("http:", "https:", "urn:"))]
        self.times = [found for found in strings if FHIR_DATE.match(found.value) or FHIR_TIME.match(found.value)]
        self.answers = {}

    def has(self, forms):
        key = tuple(forms)
        if key not in self.answers:
            self.answers[key] = any(self.one(form) for form in forms) \
                or any(same_system(forms, found) for found in self.names)
        return self.answers[key]

    def one(self, form):
        plain = words(form)
        if squeezed(form) in self.exact or (plain.strip() and plain in self.words):
            return True
        if plain.strip() and len(plain) - 2 >= self.least and plain in self.text:
            return True
        if self.numbers and number(form) in self.numbers:
            return True
        return bool(DATE.match(form) or TIME.match(form)) and any(same([form], found, False) for found in self.times)


def readings(name, value):
    """A value, and what its bytes say where it is data in base64."""
    yield value
    if name == "data" and isinstance(value, str):
        try:
            yield base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            pass


def words(value):
    """Text with its white space and marks brought down to single blanks, between blanks."""
    if isinstance(value, bool):
        value = str(value).lower()
    text = unicodedata.normalize("NFC", str(value))
    return " " + " ".join(re.findall(r"\w+", text)) + " "


def squeezed(value):
    return " ".join(unicodedata.normalize("NFC", str(value)).split())


def same(forms, found, loose=True):
    """Whether a place holds a value; `loose` allows it inside longer text however short it is."""
    value = found.value
    for form in forms:
        if isinstance(value, bool):
            if form.casefold() == str(value).lower():
                return True
            continue
        if isinstance(value, (int, decimal.Decimal)):
            if number(form) == value and number(form) is not None:
                return True
            continue
        if squeezed(form) == squeezed(value):
            return True
        if date(form, value) or time(form, value):
            return True
        plain = words(form)
        if plain.strip():
            if plain == found.words:
                return True
            if (loose or len(plain) - 2 >= CONTAINED_CHARACTERS_MIN) and plain in found.words:
                return True
        elif squeezed(form) in squeezed(value) and loose:
            return True
    return False


def number(text):
    try:
        value = decimal.Decimal(text.strip())
        return value if value.is_finite() else None
    except decimal.InvalidOperation:
        return None


def date(form, value):
    """A v2 time and a FHIR one say the same: the same digits as far as v2 goes, and the same zone where v2 has one."""
    ours, theirs = DATE.match(form.strip()), FHIR_DATE.match(value)
    if not ours or not theirs:
        return False
    for mine, other in zip(ours.groups()[:6], theirs.groups()[:6]):
        if mine is not None and mine != other:
            # To the second in FHIR, however coarse v2 was; never the other way round.
            return same_instant(ours, theirs)
    fraction, other = ours.group(7), theirs.group(7)
    if fraction and fraction.rstrip("0") and not (other or "").startswith(fraction.rstrip("0")[:3]):
        return False
    return zone(ours.group(8)) is None or theirs.group(8) is None or zone(ours.group(8)) == zone(theirs.group(8)) \
        or same_instant(ours, theirs)


def zone(text):
    if not text:
        return None
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if text[0] == "-" else minutes


def same_instant(ours, theirs):
    """With both zones told, the same moment written in another zone."""
    if zone(ours.group(8)) is None or zone(theirs.group(8)) is None or ours.group(5) is None or theirs.group(5) is None:
        return False

    def moment(match):
        parts = [int(part) for part in match.groups()[:5]]
        return datetime.datetime(*parts) - datetime.timedelta(minutes=zone(match.group(8)))
    try:
        return moment(ours) == moment(theirs)
    except (ValueError, OverflowError):
        return False


def time(form, value):
    ours, theirs = TIME.match(form.strip()), FHIR_TIME.match(value)
    return bool(ours and theirs) and all(mine is None or mine == other
                                         for mine, other in zip(ours.groups()[:3], theirs.groups()[:3]))


def digits(text):
    return re.sub(r"\D", "", str(text))


def same_phone(forms, found):
    """A telephone number, or its area code or another part of it, by digits."""
    there = digits(found.value)
    return any(len(digits(form)) >= 3 and not re.search("[A-Za-z]{3}", form) and digits(form) in there
               for form in forms)


def same_system(forms, found):
    """A coding system, authority or other name inside the URI that FHIR asks for."""
    uri = urllib.parse.unquote(str(found.value)).casefold()
    for form in forms:
        key = form.strip().upper()
        table = re.match(r"HL7?-?(\d{4})$|HL7(\d{4})$", key)
        if table and f"v2-{table.group(1) or table.group(2)}" in uri:
            return True
        known = SYSTEMS.get(key)
        if known and known in uri:
            return True
        plain = words(form.casefold().replace("_", " "))
        if plain.strip() and plain in words(uri.replace("_", " ")):
            return True
    return False
