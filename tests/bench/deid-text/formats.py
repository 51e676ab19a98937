"""How identifiers are written, a list for each split and category; the two lists have nothing in common, but that a name
may stand as "Given Family" or as its family name alone, and a ZIP code in five digits, in either.

`#` is a digit, `^` one that is not 0, `@` a capital letter, `%` a digit or letter of hexadecimal. What stands in `<<>>`
may stay (see labels.py).
"""

import datetime

import pools

MONTHS = """January February March April May June July August September October November December""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ORDINALS = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third twenty-fourth twenty-fifth
twenty-sixth twenty-seventh twenty-eighth twenty-ninth thirtieth thirty-first""".split()
NINETIES = ["ninety", "ninety-one", "ninety-two", "ninety-three", "ninety-four", "ninety-five", "ninety-six",
            "ninety-seven", "ninety-eight", "ninety-nine"]

DATES = {
    "dev": ["{mm}/{dd}/<<{yyyy}>>", "{Month} {d}, <<{yyyy}>>", "{d} {Mon} <<{yyyy}>>", "{mm}-{dd}-<<{yy}>>",
            "{Month} {d}<<{th}>>", "<<{yyyy}>>/{mm}/{dd}", "{Mon} <<{yyyy}>>", "{m}/{d}", "<<the>> {word} <<of>> {Month}",
            "{dd}{MON}<<{yyyy}>>", "{Month} <<of {yyyy}>>", "<<{day},>> {Month} {d}", "<<{yyyy}>>{mm}{dd}",
            "{mm}/{dd}/<<{yyyy} {hour}>>", "<<late>> {Month}", "Thanksgiving"],
    "test": ["{m}/{d}/<<{yy}>>", "<<{yyyy}>>-{mm}-{dd}", "{dd}.{mm}.<<{yyyy}>>", "{Mon}. {d}, <<{yyyy}>>",
             "{d} {Month} <<{yyyy}>>", "{Month} <<the>> {word}<<, {yyyy}>>", "<<the>> {d}<<{th} of>> {Month}",
             "{mm}/<<{yyyy}>>", "{Mon} '<<{yy}>>", "{d}-{MON}-<<{yy}>>", "<<{yyyy}>>-{mm}-{dd}<<T{hour}:00Z>>",
             "<<mid->>{Month}", "<<early>> {Month} <<{yyyy}>>", "{Month} {d}-{e}", "<<{yyyy}>>{mm}{dd}<<{clock}>>",
             "{Mon} {d} <<{yyyy}>>", "{m}.{d}.<<{yy}>>", "{MONTH} {d}, <<{yyyy}>>", "{m}-{d}-<<{yyyy}>>",
             "{dd}/{Mon}/<<{yyyy}>>", "<<{day}>> {m}/{d}", "Christmas Eve", "{m}/{d} <<and>> {m}/{e}",
             "{Month} {d}<<{th}, {yyyy}>>", "{Mon}-{dd}-<<{yyyy}>>"],
}

# Of the patient and everybody else. `{G}` given, `{M}` middle, `{F}` family; small letters are initials.
NAMES = {
    "dev": ["{G} {F}", "{G} {F}", "{F}, {G}", "{G} {m}. {F}", "{F}, {G} {m}.", "{G} {M} {F}", "{G} {F} {suffix}",
            "{G} ({nick}) {F}", "{F}^{G}"],
    "test": ["{G} {F}", "{G} {F}", "{F}, {G} {m}", "{F},{G}", "{g}. {F}", "{G} {F}, {suffix}", "{F} {G}", "{UF}, {UG}",
             "{G} \"{nick}\" {F}", "{lg} {lf}", "{g}. {m}. {F}", "{F}^{G}^{m}", "{UG} {UF}", "{G} {M}-{F}", "{g}{m} {F}"],
}
INITIALS = {"dev": ["{g}.{f}.", "{g}{m}{f}"], "test": ["{g}. {m}. {f}.", "{g}{f}", "{g}.{m}.{f}."]}

ZIPS = {"dev": ["<<###>>##"], "test": ["<<###>>##-####", "<<###>>##"]}
# Of areas with 20,000 people or fewer: not even three digits may stay.
ZIPS_SMALL = {"dev": ["036##", "692##", "878##"], "test": ["059##", "821##", "893##"]}
ADDRESSES = {
    "dev": ["{n} {street}", "{n} {street}, Apt ##", "P.O. Box ####", "{n} {street} no. ^"],
    "test": ["{n} {street}, Unit ^@", "{n} {street} Apt. ^##", "PO Box ^###", "{n}-B {street}", "{n} {street}, Suite ^00",
             "{n}½ {street}", "RR ^ Box ^##", "the corner of {street} and {street}", "{n} {street}, Lot ^@"],
}
AGES = {
    "dev": ["{n}<<-year-old>>", "{n} <<years old>>", "{n} <<y.o.>>"],
    "test": ["{n}<<yo>>", "{n} <<year old>>", "{n} <<y/o>>", "{words}<<-year-old>>", "<<aged>> {n}", "{n}<<F>>",
             "{n} <<years of age>>", "{words} <<years old>>"],
}

# Whatever is only a pattern.
NUMBERS = {
    "PHONE": {
        "dev": ["(^##) ###-####", "^##-###-####", "1-^##-###-####", "^##-###-#### ext. ###", "^##.###.####"],
        "test": ["^## ### ####", "+1 ^## ### ####", "^#########", "(^##)###-####", "^##-###-#### x####", "###-####",
                 "+44 20 #### ####", "^##/###-####", "(^##) ### ####", "+1(^##)###-####", "^##–###–####",
                 "+52 55 #### ####"],
    },
    "FAX": {"dev": ["(^##) ###-####", "^##-###-####"], "test": ["^##.###.####", "1 (^##) ###-####", "^##########"]},
    "SSN": {"dev": ["^##-##-####", "^## ## ####"], "test": ["^########", "<<XXX-XX->>####", "^##.##.####", "^##–##–####"]},
    "MRN": {
        "dev": ["#######", "MR-######", "##-##-##", "@#######"],
        "test": ["########", "E########", "###-##-##", "0000######", "@@######", "M#####-#", "#### ####", "H-##-######"],
    },
    "PLAN": {
        "dev": ["@@@#########", "#########-##", "W##########"],
        "test": ["^@@#-@@#-@@##", "@##-######-##", "R########", "YZP###@#####", "##########@", "^########@", "@@ ### ### ###"],
    },
    "ACCOUNT": {
        "dev": ["##########", "^###-####-####-####", "ACCT-#######"],
        "test": ["4### #### #### ####", "A-####-######", "V##########", "##-#######-#", "DE## #### #### #### ####", "37## ###### #####"],
    },
    "LICENSE": {
        "dev": ["@#######", "@@@-##-####"],
        "test": ["@###-####-####", "@@#####", "#########@", "RN-######", "B@#######"],
    },
    "VEHICLE": {
        "dev": ["@@@-####", "^@@@###", "1HGCM#####A######"],
        "test": ["@@@ ###", "###-@@@", "@## @@@", "JT###@@##########", "#@@@###", "2G1WF5EK#B#######"],
    },
    "DEVICE": {
        "dev": ["SN-########", "@@@######@", "PJN######@"],
        "test": ["####-@@-####", "(01)########(21)@####", "BX######", "<<S/N>> ##@####", "@##-######-@", "##@@######"],
    },
    "IP": {
        "dev": ["10.##.^#.^##", "192.168.^.^#"],
        "test": ["172.16.^#.^##", "^#.1##.##.#", "2001:db8:%%%%:%::%%", "fe80::%%%%:%%ff:fe%%:%%%%", "203.0.113.^#:8080"],
    },
    "BIOMETRIC": {
        "dev": ["FP-######", "VP-@@-####"],
        "test": ["IRIS-%%%%%%%%", "FPT/####/@", "voiceid-######", "PALM#######"],
    },
    "PHOTO": {
        "dev": ["IMG_####.jpg", "DSC#####.JPG"],
        "test": ["face_####.png", "WoundPhoto-####-##.jpeg", "PXL_##########.jpg", "headshot-#####.tiff"],
    },
    "OTHER": {
        "dev": ["ACC######", "S##-#####", "<<NPI>> 1#########"],
        "test": ["####-@@-#####", "SP##-######", "ORD#######", "1#########", "ST-###-####", "%%%%%%%%-%%%%-4%%%-a%%%-%%%%%%%%%%%%",
                 "<<CASE>> ##-####", "<<RX>> #######"],
    },
}
EMAILS = {
    "dev": ["{g}.{f}@{domain}", "{gi}{f}@{domain}", "{g}_{f}##@{domain}"],
    "test": ["{f}.{g}@{domain}", "{g}##@{domain}", "{f}{gi}+clinic@{domain}", "{gi}-{f}@mail.{domain}", "{g} at {domain}",
             "{UG}.{UF}@{domain}", "{g} . {f}@{domain}", "{g}[at]{domain}"],
}
URLS = {
    "dev": ["https://{domain}/patients/{f}", "www.{f}family.com", "http://{domain}/p?id=####"],
    "test": ["{f}-{g}.blogspot.com", "https://portal.{domain}/chart/########", "facebook.com/{g}.{f}.##",
             "ftp://files.{domain}/{f}/scan.pdf", "linkedin.com/in/{g}{f}", "{domain}/~{gi}{f}", "@{g}_{f}##"],
}


def digits(pattern, random):
    """A pattern with its digits and letters."""
    def one(character):
        match character:
            case "#":
                return random.choice("0123456789")
            case "^":
                return random.choice("123456789")
            case "@":
                return random.choice("ABCDEFGHJKLMNPRSTUVWXYZ")
            case "%":
                return random.choice("0123456789abcdef")
        return character

    return "".join(one(character) for character in pattern)


def ascii_word(name):
    """A name as addresses of mail and web have it."""
    return "".join(character for character in name.lower() if character.isascii() and character.isalnum()) or "user"


class Formats:
    """Writes the identifiers of one split."""

    def __init__(self, pools_of_split, random):
        self.pools, self.random, self.split = pools_of_split, random, pools_of_split.split

    def pick(self, table):
        """One of this split's formats."""
        return self.random.choice(table[self.split])

    def name(self, person, table=None):
        """A name of a person, `(given, middle, family)`."""
        given, middle, family = person
        return self.pick(table or NAMES).format(
            G=given, M=middle, F=family, g=given[0], m=middle[0], f=family[0], UG=given.upper(), UF=family.upper(),
            lg=given.lower(), lf=family.lower(), nick=self.pools.of(pools.NICKNAMES), suffix=self.pools.of(pools.SUFFIXES))

    def date(self, first=2012, last=2025):
        """A date between two years."""
        day = datetime.date(self.random.randint(first, last), self.random.randint(1, 12), self.random.randint(1, 28))
        month = MONTHS[day.month - 1]
        hour = f"{self.random.randint(0, 23):02}:{self.random.randint(0, 59):02}"
        end = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day not in (11, 12, 13) else 0, "th")
        return self.pick(DATES).format(
            mm=f"{day.month:02}", dd=f"{day.day:02}", m=day.month, d=day.day, e=min(31, day.day + self.random.randint(1, 3)),
            yyyy=day.year, yy=f"{day.year % 100:02}", Month=month, Mon=month[:3], MON=month[:3].upper(), MONTH=month.upper(),
            th=end, word=ORDINALS[day.day - 1], day=DAYS[day.weekday()], hour=hour, clock=hour.replace(":", ""))

    def age(self):
        """An age over 89."""
        over = min(self.random.randint(0, 9), self.random.randint(0, 14))
        return self.pick(AGES).format(n=90 + over, words=NINETIES[min(over, 9)])

    def address(self):
        """Street, building or box."""
        pattern = self.pick(ADDRESSES)
        while "{street}" in pattern:
            street = self.pools.of(pools.STREETS).format(self.pools.of(pools.STREET_KINDS))
            pattern = pattern.replace("{street}", street, 1)
        # The number and the box have patterns, the name of the street has none of their letters.
        return digits(pattern.replace("{n}", "^##" if self.random.random() < 0.5 else "^###"), self.random)

    def zip(self):
        """A ZIP code, one in eight of a small area."""
        small = self.random.random() < 0.125
        return digits(self.pick(ZIPS_SMALL if small else ZIPS), self.random).strip()

    def online(self, table, person):
        """An address of mail or web."""
        given, _, family = (ascii_word(part) for part in person)
        text = self.pick(table).format(g=given, f=family, gi=given[0], UG=given.upper(), UF=family.upper(),
                                       domain=self.pools.of(pools.DOMAINS))
        if text.startswith("@"):
            return "@" + digits(text[1:], self.random)
        return digits(text.replace("@", "\0"), self.random).replace("\0", "@")

    def number(self, category):
        """Whatever is only a pattern."""
        return digits(self.pick(NUMBERS[category]), self.random)
