"""Identifiers and what looks like them, made by grammar, to train on."""

import datetime
import pathlib
import re

import formats
import pools
import training_places as places

WORDS = pathlib.Path(__file__).resolve().parents[3] / "third_party/words/words.txt"
CLINIC = pathlib.Path(__file__).resolve().parents[3] / "gateway/deid/data/clinic.txt"
GIVEN, SURNAME, WORD = 1, 2, 4

KIN = """wife husband son daughter mother father brother sister mom dad uncle aunt nephew niece cousin friend neighbor partner fiancé grandson
granddaughter grandmother grandfather stepson stepdaughter girlfriend boyfriend spouse caregiver roommate guardian""".split()
DEGREES = "MD M.D. DO RN NP PA PA-C PhD LPN DDS PharmD LCSW APRN FNP BSN MSN CRNA DPM OD PsyD CNM MBBS FACS FACC RT CNA EMT MSW RD DPT M.D., Ph.D.".split(" ")
MONTHS = formats.MONTHS
DAYS = formats.DAYS
HOLIDAYS = ["Christmas", "Thanksgiving", "Easter", "New Year's Eve", "Christmas Eve", "Labor Day", "Memorial Day", "the Fourth of July", "Halloween",
            "Valentine's Day", "Ramadan", "Diwali", "Passover", "Mother's Day", "Good Friday", "Boxing Day", "Hanukkah"]
SMALL = "one two three four five six seven eight nine".split()
ONSETS = "b br c ch d dr f g gr h j k kh kl l m n p ph r s sh st t th tr v w y z zh kw dl x".split()
VOWELS = "a e i o u ai au ei ia ie io oa ou ua ee oo y".split()
CODAS = ["", "", "", "n", "r", "s", "l", "m", "k", "t", "ng", "rd", "nt", "sch", "ck", "th", "lo", "vich", "ski", "son", "sen", "man", "ez", "ini", "ova", "ian", "oglu"]
PARTICLES = ["de ", "de la ", "del ", "van ", "van den ", "van der ", "von ", "der ", "di ", "da ", "dos ", "la ", "le ", "bin ", "ibn ", "al-", "el-",
             "O'", "Mc", "Mac", "Fitz", "St. ", "D'", "L'", "abu ", "ter ", "ten ", "zu "]
DOMAINS = ["gmail.com", "yahoo.com", "hotmail.com", "outlook.com", "aol.com", "icloud.com", "proton.me", "mail.ru", "web.de", "comcast.net"]
TLDS = "com net org edu gov io info us uk de fr health care med biz me co.uk com.au ca in".split()
SYMPTOMS = """chest pain;shortness of breath;low back pain;Type 2 diabetes mellitus;Hypertension;COPD;Atrial fibrillation;nausea and vomiting;Cough
for two weeks;CHF exacerbation;No known drug allergies;NKDA;Penicillin;Right knee replacement;Total hip arthroplasty;Left breast mass;Pneumonia;UTI;
Depression and anxiety;GERD;Hyperlipidemia;Appendectomy;Cholecystectomy;MRI of the lumbar spine without contrast;CT abdomen and pelvis with contrast;
Chest X-ray PA and lateral;Echocardiogram;Colonoscopy with polypectomy;Wound check;Physical exam;Follow-up;Alert and oriented x3;Regular rate and
rhythm;Lungs clear to auscultation bilaterally;Abdomen soft, non-tender;No acute distress;HEENT normal;PERRLA;CN II-XII intact;DVT prophylaxis with
Lovenox;Lasix and Coumadin;Tylenol as needed;Full code;DNR/DNI;Vaginal delivery;Apgars 8 and 9;Stable on room air;BiPAP overnight;ORIF left ankle;
Neuro: grossly intact;Skin: warm and dry;GI: tolerating diet;Sinus rhythm;ST elevation in II, III and aVF;Ejection fraction 55%;BRCA1 positive;
HER2 negative;Stage IIIA adenocarcinoma;Hepatitis C;HIV negative;TSH and free T4;Vitamin D deficiency;Iron deficiency anemia;Ambien at bedtime;
Zofran 4 mg IV;Ancef on call;Keflex;Percocet;Eliquis;Xarelto;Plavix;Lipitor;Humira;Ozempic;Remicade""".replace("\n", " ").split(";")
HEADINGS = """Chief Complaint;History of Present Illness;Past Medical History;Past Surgical History;Family History;Social History;Review of Systems;
Physical Examination;Assessment and Plan;Assessment;Plan;Impression;Findings;Technique;Comparison;Recommendations;Hospital Course;Discharge
Diagnosis;Discharge Medications;Discharge Instructions;Condition;Disposition;Procedure;Indications;Anesthesia;Estimated Blood Loss;Specimens;
Complications;Vital Signs;Laboratory Data;Imaging;Medications;Allergies;Immunizations;Subjective;Objective;General;Cardiovascular;Respiratory;
Gastrointestinal;Genitourinary;Musculoskeletal;Neurologic;Psychiatric;Skin;Clinical Information;Gross Description;Microscopic Description;
Final Diagnosis;Preoperative Diagnosis;Postoperative Diagnosis;Consent;Nursing Note;Progress Note;Operative Report;Discharge Summary;Radiology
Report;Consultation;Goals;Code Status;Diet;Activity;Wound Care;Interval History;Reason for Consultation;Addendum""".replace("\n", " ").split(";")
EPONYMS = """Parkinson Alzheimer Crohn Hodgkin Graves Addison Cushing Raynaud Sjogren Huntington Tourette Down Turner Klinefelter Marfan Meniere
Hashimoto Kawasaki Barrett Bell Paget Wilson Wegener Behcet Guillain-Barre Creutzfeldt-Jakob Ehlers-Danlos Stevens-Johnson Wolff-Parkinson-White
Murphy McBurney Babinski Romberg Tinel Phalen Homans Kernig Brudzinski Lachman Trendelenburg Baker Colles Dupuytren Charcot Lou-Gehrig""".split()
EPONYM_OF = "disease syndrome sign test palsy lymphoma contracture thyroiditis esophagus cyst fracture reflex phenomenon criteria".split()
DRUGS = """metformin lisinopril atorvastatin amlodipine metoprolol omeprazole losartan albuterol gabapentin hydrochlorothiazide sertraline
furosemide prednisone tramadol Lasix Coumadin Synthroid Norvasc Zoloft Neurontin Prilosec Plavix Lantus Humalog Advair Xanax Ativan Percocet Norco
Augmentin Zithromax Levaquin Bactrim Keppra Dilantin Seroquel Abilify Eliquis Januvia Jardiance Entresto""".split()
UNITS = ["mg/dL", "mmol/L", "g/dL", "K/uL", "mEq/L", "U/L", "ng/mL", "pg/mL", "%", "mm/hr", "mcg/dL", "IU/L", "", "", ""]
ANALYTES = "Na K Cl CO2 BUN Cr Glucose Ca Mg Phos WBC Hgb Hct Plt INR PT PTT AST ALT TSH A1c LDL HDL BNP Troponin CRP ESR Lactate pH Albumin Ferritin PSA".split()
TENS = {9: "ninety"}


def digits_of(random, count):
    """So many digits."""
    return "".join(random.choice("0123456789") for _ in range(count))


def letters_of(random, count):
    """So many capital letters."""
    return "".join(random.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(count))


class Forms:
    """Makes what stands in the slots."""

    def __init__(self, random):
        self.random = random
        self.given, self.family, self.words, self.wordish = [], [], [], []
        for line in WORDS.read_text(encoding="utf-8").splitlines():
            word, kinds = line.rsplit(" ", 1)
            kinds = int(kinds)
            if kinds & WORD:
                self.words.append(word)
            if len(word) < 3 or pools.half(word) == "test":
                continue
            if kinds & GIVEN:
                self.given.append(word.capitalize())
            if kinds & SURNAME:
                (self.wordish if kinds & WORD else self.family).append(word.capitalize())
        lists = pools.people()
        mine = lambda names: [name for name in names if pools.half(name) == "dev"]
        self.countries = [(mine(given), mine(family)) for given, family in lists.values()]
        self.countries = [pair for pair in self.countries if all(pair)]
        self.towns = [town for town in places.TOWNS if town not in pools.CITIES["test"]]

    def pick(self, *things):
        return self.random.choice(things)

    def dice(self):
        return self.random.random()

    # Names.

    def made(self):
        """A word of syllables."""
        pick = self.random.choice
        word = "".join(pick(ONSETS) + pick(VOWELS) for _ in range(self.random.randint(1, 2))) + pick(["", pick(ONSETS) + pick(VOWELS)]) + pick(CODAS)
        return word.capitalize() if len(word) > 2 else word.capitalize() + "na"

    def one_given(self):
        dice, pick = self.dice(), self.random.choice
        if dice < 0.45:
            return pick(self.given)
        if dice < 0.8:
            return pick(pick(self.countries)[0])
        if dice < 0.85:
            return pick(self.given) + "-" + pick(self.given + [name.lower() for name in self.given[:200]])
        return self.made() if dice < 0.97 else self.misspelt(pick(self.given))

    def one_family(self):
        dice, pick = self.dice(), self.random.choice
        if dice < 0.4:
            name = pick(self.family)
        elif dice < 0.55:
            name = pick(self.wordish)
        elif dice < 0.8:
            name = pick(pick(self.countries)[1])
        elif dice < 0.95:
            name = self.made()
        else:
            name = self.misspelt(pick(self.family))
        dice = self.dice()
        if dice < 0.05:
            name = pick(PARTICLES) + name
        elif dice < 0.09:
            name = name + "-" + pick(self.family)
        elif dice < 0.11:
            name = name + " " + pick(self.family)
        return name

    def misspelt(self, name):
        at = self.random.randrange(len(name))
        return self.pick(name[:at] + name[at + 1:], name[:at] + name[at] + name[at:], name[:at] + self.random.choice("aeiorstln") + name[at + 1:]).capitalize()

    def person(self, people):
        if people and self.dice() < 0.4:
            return self.random.choice(people)
        person = (self.one_given(), self.one_given(), self.one_family())
        people.append(person)
        return person

    def name(self, person):
        given, middle, family = person
        form = self.random.choice([
            "{G} {F}", "{G} {F}", "{G} {F}", "{G} {F}", "{G} {m}. {F}", "{G} {m} {F}", "{F}, {G}", "{F}, {G} {m}.", "{F}, {G} {M}", "{G} {M} {F}", "{g}. {F}", "{g} {F}",
            "{g}. {m}. {F}", "{g}.{m}. {F}", "{G} {F} {suffix}", "{G} {F}, {suffix}", "{UG} {UF}", "{UF}, {UG}", "{UF} {G}", "{F} {g}", "{F}, {g}.", "{G} {nick} {F}", "{F}", "{G}",
            "{lg} {lf}", "{UF},{UG}", "{F} {G}", "{G} {F}-{F2}", "{m}. {G} {F}", "{F} {F2}", "{UF}^{UG}"])
        return form.format(G=given, M=middle, F=family, F2=self.random.choice(self.family), g=given[0], m=middle[0], f=family[0], UG=given.upper(), UF=family.upper(),
                           lg=given.lower(), lf=family.lower(), suffix=self.pick("Jr", "Jr.", "Sr.", "II", "III", "IV"),
                           nick=self.pick('"{}"', "({})", "'{}'").format(self.one_given()))

    # Dates and ages.

    def day(self, first=1990, last=2026):
        return datetime.date(self.random.randint(first, last), self.random.randint(1, 12), self.random.randint(1, 28))

    def date(self, first=1990, last=2026):
        day, r = self.day(first, last), self.random
        month = MONTHS[day.month - 1]
        th = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day not in (11, 12, 13) else 0, "th")
        yy = f"<<{day.year % 100:02}>>"
        yyyy = f"<<{day.year}>>"
        sep = r.choice(["/", "/", "/", "-", ".", "-", " / "])
        d, m = r.choice([f"{day.day}", f"{day.day:02}"]), r.choice([f"{day.month}", f"{day.month:02}"])
        mon = r.choice([month, month, month[:3], month[:3], month[:3] + ".", month.upper(), month[:3].upper(), month.lower(), month[:3].lower()])
        year = r.choice([yyyy, yyyy, yyyy, yy])
        weekday = DAYS[day.weekday()]
        clock = f"{r.randint(0, 23):02}:{r.randint(0, 59):02}"
        dice = r.random()
        if dice < 0.2:
            return m + sep + d + sep + year
        if dice < 0.25:
            return d + sep + m + sep + year
        if dice < 0.30:
            return yyyy + sep + f"{day.month:02}" + sep + f"{day.day:02}"
        if dice < 0.36:
            return r.choice([m + "/" + d, m + "-" + d if r.random() < 0.2 else m + "/" + d])
        if dice < 0.42:
            return f"{mon} {d}, {yyyy}"
        if dice < 0.48:
            return f"{mon} {day.day}{r.choice([th, '', ''])}{r.choice(['', '', f', {yyyy}', f' {yyyy}'])}"
        if dice < 0.54:
            return f"{day.day}{r.choice(['', '', th])}{r.choice([' ', ' ', '-', ' of '])}{mon}{r.choice([' ', ', ', '-', ' '])}{year}"
        if dice < 0.58:
            return f"{mon}{r.choice([' ', ' of ', ', ', '-', '/', ' '])}{yyyy}"
        if dice < 0.61:
            return f"<<{r.choice(['the ', ''])}>>{r.choice([str(day.day) + th, formats.ORDINALS[day.day - 1]])} of {month}{r.choice(['', f' {yyyy}', f', {yyyy}'])}"
        if dice < 0.65:
            return f"<<{r.choice([weekday, weekday[:3]])}{r.choice([', ', ' ', ' the '])}>>{r.choice([f'{mon} {d}', f'{m}/{d}', f'{m}/{d}/{year}', f'{d} {mon} {yyyy}', f'{mon} {day.day}{th}'])}"
        if dice < 0.70:
            return f"{m}/{d}/{year}{r.choice([' ', ' at ', ' @ ', ', '])}<<{clock}{r.choice(['', ' AM', ' pm', ' hrs', ':12'])}>>"
        if dice < 0.74:
            return f"{yyyy}-{day.month:02}-{day.day:02}T{clock}:{r.randint(0, 59):02}{r.choice(['Z', '', '-05:00', '.000', '+01:00'])}"
        if dice < 0.77:
            return f"{day.year}{day.month:02}{day.day:02}{r.choice(['', '', clock.replace(':', '')])}"
        if dice < 0.80:
            return f"{day.day:02}{r.choice(['', '-'])}{r.choice([month[:3].upper(), month[:3]])}{r.choice(['', '-'])}{r.choice([yyyy, yy])}"
        if dice < 0.83:
            return f"{m}/{r.choice([yyyy, yy]) if r.random() < 0.6 else yyyy}"
        if dice < 0.86:
            return r.choice(HOLIDAYS) + r.choice(["", f" {yyyy}", f" of {yyyy}", ""])
        if dice < 0.89:
            return f"{mon} {d}{r.choice(['-', ' - ', ' to ', ' through ', '–'])}{min(31, day.day + r.randint(1, 9))}{r.choice(['', f', {yyyy}'])}"
        if dice < 0.91:
            return f"{m}/{d}{r.choice(['-', ' - ', ' to ', ' through '])}{m}/{min(28, day.day + 5)}{r.choice(['', '/' + year])}"
        if dice < 0.93:
            return f"<<{r.choice(['early', 'mid', 'late', 'mid-', 'the end of', 'beginning of'])} >>{month}{r.choice(['', f' {yyyy}'])}"
        if dice < 0.96:
            return f"{month[:3]} {d} '{yy}" if r.random() < 0.5 else f"{m}/{d}/'{yy}"
        return f"{mon} {formats.ORDINALS[day.day - 1]}{r.choice(['', f', {yyyy}'])}"

    def over(self):
        return 90 + min(self.random.randint(0, 12), self.random.randint(0, 16))

    def in_words(self, age):
        if age >= 100:
            rest = age - 100
            return self.pick("one hundred", "a hundred") + (self.pick(" and ", " ") + SMALL[rest - 1] if 0 < rest < 10 else "")
        return "ninety" + (self.pick("-", " ") + SMALL[age - 91] if age > 90 else "")

    def age(self):
        age = self.over()
        shown = self.in_words(age) if self.dice() < 0.15 else str(age)
        return f"[[AGE:{shown}]]" + self.pick("<<-year-old>>", "<<-year-old>>", "<< year old>>", "<< y/o>>", "<<yo>>", "<< yo>>", "<<-yr-old>>", "<< y.o.>>", "<<y>>", "<< years old>>", "<<-year old>>")

    # Numbers.

    def code(self):
        """A number of something; hardly two look the same."""
        r, pick = self.random, self.random.choice
        dice = r.random()
        if dice < 0.3:
            return digits_of(r, r.randint(5, 12))
        if dice < 0.5:
            return letters_of(r, r.randint(1, 4)) + pick(["", "", "-", " ", "_", "."]) + digits_of(r, r.randint(4, 10))
        if dice < 0.58:
            return digits_of(r, r.randint(3, 9)) + pick(["", "-", " "]) + letters_of(r, r.randint(1, 3))
        separator = pick(["-", "-", "-", "-", "/", ".", " ", ":", "_"])
        if dice < 0.7:
            return separator.join(digits_of(r, r.randint(2, 5)) for _ in range(r.randint(2, 4)))
        if dice < 0.88:
            groups = [pick([digits_of(r, r.randint(2, 6)), letters_of(r, r.randint(1, 4)), letters_of(r, 1) + digits_of(r, r.randint(1, 4)), digits_of(r, 2) + letters_of(r, 1)])
                      for _ in range(r.randint(2, 4))]
            groups.append(digits_of(r, r.randint(3, 6)))
            return separator.join(groups)
        if dice < 0.95:
            return "".join(pick("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789") for _ in range(r.randint(5, 12))) + digits_of(r, 2)
        if dice < 0.97:
            return "".join(pick("0123456789abcdef") for _ in range(pick([8, 12, 16, 32])))
        return "-".join("".join(pick("0123456789abcdef") for _ in range(n)) for n in (8, 4, 4, 4, 12))

    def phone(self):
        r, pick = self.random, self.random.choice
        area, mid, last = str(r.randint(2, 9)) + digits_of(r, 2), str(r.randint(2, 9)) + digits_of(r, 2), digits_of(r, 4)
        if r.random() < 0.7:
            form = pick(["({a}) {b}-{c}", "{a}-{b}-{c}", "{a}.{b}.{c}", "{a} {b} {c}", "{a} {b}-{c}", "{a}/{b}-{c}", "+1 {a} {b} {c}", "+1-{a}-{b}-{c}", "1-{a}-{b}-{c}", "1 ({a}) {b}-{c}",
                         "{a}{b}{c}", "{b}-{c}", "({a}){b}-{c}", "+1 ({a}) {b}-{c}", "{a}-{b}{c}", "1.{a}.{b}.{c}", "({a}) {b} {c}", "{b} {c}", "{a} - {b} - {c}", "001-{a}-{b}-{c}"])
        else:
            form = pick(["+44 {d}{d}{d}{d} {d6}", "0{d}{d} {d4} {d4}", "+49 {d}{d}{d} {d4}{d}{d}", "0{d}{d}{d} {d4}{d}{d}", "+33 {d} {d}{d} {d}{d} {d}{d} {d}{d}", "0{d} {d}{d} {d}{d} {d}{d} {d}{d}",
                         "+52 {d}{d} {d4} {d4}", "+91 {d}{d4} {d4}{d}", "0{d4}{d6}", "+{d}{d} {d}{d}{d} {d}{d}{d} {d}{d}{d}", "{d}{d}-{d}{d}-{d}{d}-{d}{d}", "+61 {d} {d4} {d4}", "0{d}{d}{d}/{d4}{d}{d}", "+{d}{d}{d6}{d4}"])
        while "{d" in form:
            form = form.replace("{d6}", digits_of(r, 6), 1).replace("{d4}", digits_of(r, 4), 1).replace("{d}", digits_of(r, 1), 1)
        extension = pick([" x{}", " ext {}", " ext. {}", ", extension {}", "x{}", " Ext: {}"]).format(digits_of(r, r.randint(2, 5))) if r.random() < 0.1 else ""
        return form.format(a=area, b=mid, c=last) + extension

    def ssn(self):
        r = self.random
        a, b, c = digits_of(r, 3), digits_of(r, 2), digits_of(r, 4)
        return self.pick(f"{a}-{b}-{c}", f"{a}-{b}-{c}", f"{a} {b} {c}", f"{a}{b}{c}", f"<<***-**->>{c}", f"<<xxx-xx->>{c}", f"{a}/{b}/{c}", f"{a}-{b}{c}", f"<<last four >>{c}")

    def plate(self):
        r = self.random
        if r.random() < 0.25:
            return "".join(r.choice("ABCDEFGHJKLMNPRSTUVWXYZ0123456789") for _ in range(12)) + digits_of(r, 5)
        form = r.choice(["@@@ ####", "@@@-####", "#@@@###", "### @@@", "@@## @@@", "@##-###", "@@-####", "@@ #####", "##-@@@-#", "@-@@-####", "####@@", "@@@##@", "@@# #@@", "@#@ #@#"])
        return re.sub("[@#]", lambda m: digits_of(r, 1) if m.group() == "#" else letters_of(r, 1), form)

    def card(self):
        r = self.random
        four = lambda: digits_of(r, 4)
        return self.pick(" ".join(four() for _ in range(4)), "-".join(four() for _ in range(4)), digits_of(r, 16), digits_of(r, 15), f"{four()} {digits_of(r, 6)} {digits_of(r, 5)}",
                         letters_of(r, 2) + digits_of(r, 2) + letters_of(r, 4) + digits_of(r, 14), letters_of(r, 2) + digits_of(r, 2) + "".join(" " + four() for _ in range(5)), "<<ending in >>" + four(), "<<x>>" + four())

    # Addresses.

    def town(self):
        r, dice = self.random, self.random.random()
        if dice < 0.5:
            return r.choice(self.towns)
        base = r.choice([self.random.choice(self.family), self.made(), r.choice(places.STREET_WORDS)])
        if dice < 0.7:
            return base + r.choice(places.TOWN_END)
        if dice < 0.8:
            return r.choice(places.TOWN_START) + " " + base
        if dice < 0.85:
            return base + " " + r.choice(places.TOWN_LAST)
        word = lambda: r.choice(self.words).split("'")[0].capitalize()
        if dice < 0.90:
            return self.pick(word(), word(), f"{word()} {word()}", f"{word()} and {word()}", f"{word()} of {word()}")
        return self.made() if dice < 0.96 else r.choice(places.COUNTY).format(base)

    def street(self):
        r, dice = self.random, self.random.random()
        base = r.choice([r.choice(places.STREET_WORDS), r.choice(places.STREET_WORDS), self.random.choice(self.family), self.made(), self.random.choice(self.given) + " " + r.choice(self.family),
                         r.choice(places.STREET_WORDS) + " " + r.choice(places.STREET_WORDS), f"{r.randint(1, 199)}{r.choice(['th', 'st', 'nd', 'rd'])}", r.choice(["Second", "Third", "Fifth", "Ninth", "Tenth"])])
        if dice < 0.7:
            return f"{base} {r.choice(places.STREET_KINDS)}"
        if dice < 0.85:
            return f"{r.choice(places.DIRECTIONS)} {base} {r.choice(places.STREET_KINDS)}"
        if dice < 0.9:
            return r.choice(["Highway {}", "Route {}", "County Road {}", "US {}", "State Route {}", "Rural Route {}", "FM {}", "Hwy {}"]).format(r.randint(1, 999))
        return r.choice(["Via {}", "Calle {}", "Rue de {}", "Avenue {}", "Avenida {}", "Rua {}", "Plaza {}", "Camino {}", "Rue {}", "Paseo {}"]).format(base)

    def address(self):
        r, dice = self.random, self.random.random()
        number = str(r.randint(1, 19999)) if r.random() < 0.9 else f"{r.randint(1, 999)}{r.choice(['A', 'B', '-12', ' 1/2', '/3'])}"
        if dice < 0.08:
            return r.choice(["PO Box {}", "P.O. Box {}", "P. O. Box {}", "Box {}", "POB {}", "RR 2 Box {}", "Post Office Box {}", "HC 61 Box {}"]).format(r.randint(1, 99999))
        if dice < 0.13:
            return f"{r.choice([self.made(), r.choice(self.family)])}{r.choice(['straße', 'strasse', 'weg', 'gasse', 'str.', 'allee', 'laan', 'straat', 'gatan', 'vej', 'utca'])} {r.randint(1, 250)}"
        unit = ""
        if r.random() < 0.3:
            unit = r.choice([", ", " ", ", "]) + r.choice(places.UNITS).format(r.choice([str(r.randint(1, 999)), letters_of(r, 1), f"{r.randint(1, 40)}{letters_of(r, 1)}", f"{letters_of(r, 1)}-{r.randint(1, 40)}", "2nd"]))
        return f"{number} {self.street()}{unit}"

    def zip(self):
        r, dice = self.random, self.random.random()
        if dice < 0.6:
            return f"<<{digits_of(r, 3)}>>{digits_of(r, 2)}"
        if dice < 0.75:
            return f"<<{digits_of(r, 3)}>>{digits_of(r, 2)}-{digits_of(r, 4)}"
        return self.pick(f"{letters_of(r, 2)}{digits_of(r, 1)} {digits_of(r, 1)}{letters_of(r, 2)}", f"{letters_of(r, 1)}{digits_of(r, 1)}{letters_of(r, 1)} {digits_of(r, 1)}{letters_of(r, 1)}{digits_of(r, 1)}",
                         f"{digits_of(r, 4)} {letters_of(r, 2)}", digits_of(r, 6), digits_of(r, 4), f"{digits_of(r, 2)}-{digits_of(r, 3)}", f"{digits_of(r, 3)} {digits_of(r, 2)}", f"{letters_of(r, 2)}{digits_of(r, 2)} {digits_of(r, 1)}{letters_of(r, 2)}")

    def full_address(self, between):
        r = self.random
        state = r.choice(places.STATES)
        tail = r.choice([f"[[CITY:{self.town()}]], <<{state}>> [[ZIP:{self.zip()}]]", f"[[CITY:{self.town()}]] <<{state}>> [[ZIP:{self.zip()}]]", f"[[CITY:{self.town()}]], <<{state}>>",
                         f"[[CITY:{self.town()}]] [[ZIP:{self.zip()}]]", f"[[ZIP:{self.zip()}]] [[CITY:{self.town()}]]", f"[[CITY:{self.town()}]], [[ZIP:{self.zip()}]]"])
        country = r.choice(["", "", "", f"{between}<<{r.choice(places.COUNTRIES)}>>", f"{between}<<USA>>"])
        return f"[[ADDRESS:{self.address()}]]{between}{tail}{country}"

    def organisation(self):
        r, dice = self.random, self.random.random()
        fill = dict(start=r.choice(places.HOSPITAL_START), town=self.town(), given=self.one_given(), made=self.made(), street=r.choice(places.STREET_WORDS))
        form, ends = (places.HOSPITAL_FORMS, places.HOSPITAL_END) if dice < 0.55 else (places.FIRM_FORMS, places.FIRM_END)
        if dice > 0.85:
            return r.choice(places.FIRMS)
        text = r.choice(form)
        while "{family}" in text:
            text = text.replace("{family}", r.choice([r.choice(self.family), r.choice(self.family), self.made(), r.choice(self.wordish)]), 1)
        return text.format(end=r.choice(ends), **fill)

    # The net.

    def handle(self, person):
        given, _, family = (formats.ascii_word(part) for part in person)
        n = digits_of(self.random, self.random.randint(1, 4))
        return self.pick(f"{given}.{family}", f"{given[0]}{family}", f"{given}{family}", f"{given}_{family}", f"{family}{given[0]}", f"{given}{n}", f"{family}{n}", f"{given}-{family}",
                         f"{given[0]}.{family}{n}", f"{family}.{given}", f"{given}{family[0]}{n}", f"{given[:3]}{family[:4]}{n}", self.made().lower() + n, self.made().lower() + self.random.choice(self.words)[:6])

    def domain(self):
        return self.random.choice(DOMAINS) if self.dice() < 0.5 else self.pick(self.made().lower(), formats.ascii_word(self.random.choice(self.family)), "mail." + self.made().lower(),
                                                                               self.random.choice(self.words).replace("'", "") + "-" + self.pick("clinic", "health", "care", "online")) + "." + self.random.choice(TLDS)

    def email(self, person):
        address = f"{self.handle(person)}{self.pick('@', '@', '@', '@', '@', '@', ' @ ', ' (at) ', '[at]')}{self.domain()}"
        return self.pick(address, address, address, address.upper(), address.replace(".", " dot ") if self.dice() < 0.2 else address)

    def url(self, person):
        handle, domain = self.handle(person), self.domain()
        return self.pick(f"https://{domain}/{handle}", f"http://www.{domain}/{self.random.choice(self.words)}/{digits_of(self.random, 6)}", f"www.{handle.replace('_', '')}.com", f"{domain}/{handle}", f"https://{domain}",
                         f"{self.pick('facebook', 'instagram', 'linkedin', 'tiktok', 'x', 'youtube')}.com/{self.pick('', 'in/', '@', 'user/')}{handle}", f"https://{domain}/{self.made().lower()}?id={digits_of(self.random, 5)}",
                         f"@{handle}", f"{self.made().lower()}.{self.pick('wordpress', 'tumblr', 'github')}.{self.pick('com', 'io')}", f"ftp://{domain}/{handle}.zip", f"www.{domain}", f"https://chart.{domain}:8443/p/{handle}#top")

    def ip(self):
        r = self.random
        part = lambda: str(r.randint(0, 255))
        hexes = lambda n: "".join(r.choice("0123456789abcdef") for _ in range(n))
        return self.pick(".".join([part(), part(), part(), part()]), ".".join(["10", part(), part(), part()]), ".".join(["192.168", part(), part()]), ".".join([part(), part(), part(), part()]) + f":{r.randint(80, 9999)}",
                         ".".join([part(), part(), part(), part()]) + "/24", ":".join(hexes(4) for _ in range(8)), f"{hexes(4)}::{hexes(4)}:{hexes(3)}", ":".join(hexes(2) for _ in range(6)), "-".join(hexes(2).upper() for _ in range(6)), f"ws-{hexes(4)}-{digits_of(r, 3)}")

    def file(self, person):
        r = self.random
        stem = self.pick("IMG_", "DSC_", "scan", "photo-", "face", "wound_", "MRI_", "xray", "Screenshot-", "P", formats.ascii_word(person[2]) + "_", formats.ascii_word(person[0]) + "-")
        return stem + digits_of(r, r.randint(3, 9)) + self.pick("", "_1", "-b") + self.pick(".jpg", ".JPG", ".png", ".dcm", ".pdf", ".tif", ".mp4", ".heic", ".docx", ".jpeg")

    # What identifies nobody.

    def vital(self):
        r = self.random
        return self.pick(f"BP {r.randint(90, 190)}/{r.randint(50, 110)}", f"HR {r.randint(50, 130)}", f"pulse {r.randint(50, 119)}", f"RR {r.randint(10, 30)}", f"T {r.randint(96, 103)}.{r.randint(0, 9)} F",
                         f"temp {r.randint(35, 40)}.{r.randint(0, 9)}", f"SpO2 {r.randint(85, 100)}%", f"O2 sat {r.randint(88, 100)} % on {r.randint(1, 6)}L", f"weight {r.randint(40, 150)}.{r.randint(0, 9)} kg", f"wt {r.randint(90, 300)} lbs",
                         f"height {r.randint(4, 6)}'{r.randint(0, 11)}\"", f"BMI {r.randint(18, 45)}.{r.randint(0, 9)}", f"pain {r.randint(0, 10)}/10", f"Blood pressure was {r.randint(90, 190)} over {r.randint(50, 110)}", f"MAP {r.randint(60, 110)}",
                         f"respirations {r.randint(10, 30)}", f"glucose {r.randint(60, 400)}", f"FiO2 0.{r.randint(21, 99)}", f"HR 90s-100s", f"sats {r.randint(88, 99)}% RA", f"UOP {r.randint(10, 2000)} mL", f"GCS {r.randint(3, 15)}")

    def labs(self):
        r = self.random
        one = lambda: f"{r.choice(ANALYTES)}{r.choice([' ', ' ', ': ', ' of ', '='])}{r.choice([str(r.randint(1, 400)), f'{r.randint(0, 40)}.{r.randint(0, 99)}', f'{r.randint(1, 12)},{r.randint(100, 999)}'])} {r.choice(UNITS)}{r.choice(['', '', ' (H)', ' L', f' ({r.randint(1, 50)}-{r.randint(51, 200)})', f' ({r.randint(0, 5)}.{r.randint(0, 9)} - {r.randint(5, 20)}.{r.randint(0, 9)})'])}".replace("  ", " ").strip()
        plain = lambda: f"{r.choice(['sodium', 'potassium', 'hemoglobin', 'creatinine', 'glucose', 'platelets', 'white count', 'troponin', 'lactate', 'bilirubin', 'Sodium', 'Hemoglobin'])}{r.choice([' ', ' of ', ' was '])}{r.choice([str(r.randint(1, 400)), f'{r.randint(0, 40)}.{r.randint(0, 99)}', f'{r.randint(10, 400)}000', f'{r.randint(10, 400)},000'])}"
        if r.random() < 0.3:
            return ", ".join(plain() for _ in range(r.randint(1, 5)))
        return self.pick(", ", "; ", " ", "\n").join(one() for _ in range(r.randint(1, 6)))

    def dose(self):
        r = self.random
        drug = r.choice(DRUGS)
        return f"{self.pick(drug, drug, drug.capitalize(), drug.upper())} {self.pick(str(r.choice([5, 10, 20, 25, 40, 50, 81, 100, 250, 325, 500, 650, 800, 1000])), f'{r.randint(1, 9)}.{r.randint(1, 9)}', '5/325', '800/160', '0.125')}{self.pick(' ', ' ', '')}{self.pick('mg', 'mg', 'mcg', 'units', 'mL', 'g')}{self.pick('', ' PO', ' IV', ' po')} {self.pick('daily', 'BID', 'TID', 'q6h prn', 'q4-6h', 'at bedtime', 'x 7 days', 'twice daily', 'qHS', '1-2 tabs q8h', '#30, 2 refills', 'once', 'every 12 hours for 10 days')}"

    def codes(self):
        r = self.random
        return self.pick(f"{letters_of(r, 1)}{digits_of(r, 2)}.{r.randint(0, 99)}", f"{letters_of(r, 1)}{digits_of(r, 2)}", f"CPT {r.randint(10000, 99499)}", f"LOINC {r.randint(100, 99999)}-{r.randint(0, 9)}", f"{r.randint(250, 799)}.{r.randint(0, 99):02}",
                         f"SNOMED {r.randint(10 ** 7, 10 ** 8)}", f"NDC {digits_of(r, 5)}-{digits_of(r, 4)}-{digits_of(r, 2)}", f"ICD-10 {letters_of(r, 1)}{digits_of(r, 2)}.{r.randint(0, 9)}", f"DRG {r.randint(100, 999)}", f"HCPCS J{digits_of(r, 4)}", f"T{r.randint(1, 12)}-T{r.randint(1, 12)}",
                         f"L{r.randint(1, 4)}-{r.randint(2, 5)}", f"G{r.randint(1, 6)}P{r.randint(0, 5)}", f"G{r.randint(1, 6)}P{digits_of(r, 4)}", f"G{r.randint(1, 6)} P{digits_of(r, 4)}", f"{r.choice([125, 250, 325, 500])}mg/5ml", f"B12", f"T4 N1 M0", f"pT{r.randint(1, 4)}N{r.randint(0, 2)}M0", f"C{r.randint(3, 6)}-C7", f"IL-{r.randint(1, 17)}", f"CD{r.randint(3, 138)}", f"COVID-19", f"CYP2D6", f"FEV1 {r.randint(40, 99)}%")

    def size(self):
        r = self.random
        part = lambda: f"{r.randint(0, 12)}.{r.randint(0, 9)}"
        return self.pick(f"The ⟨mass⟩ measures {part()} x {part()} x {part()} cm".replace("⟨mass⟩", self.pick("mass", "nodule", "cyst", "wound")), f"A {r.randint(2, 30)} mm lesion", f"{part()} cm in diameter", f"Wound {r.randint(1, 9)} x {r.randint(1, 9)} cm", f"EBL {r.randint(10, 900)} mL", f"PVR {r.randint(10, 500)} cc")

    def span(self):
        r = self.random
        return self.pick(f"{r.randint(1, 12)} {self.pick('days', 'weeks', 'months', 'years', 'hours')}", f"{r.randint(1, 6)}-{r.randint(7, 12)} {self.pick('days', 'weeks', 'months')}", f"{r.randint(1, 6)} to {r.randint(7, 12)} weeks", "a few days", "two weeks", "the last month", "six months", f"{r.randint(90, 180)} days", f"{r.randint(13, 99)} minutes")

    def score(self):
        r = self.random
        return self.pick(f"Strength {r.randint(1, 5)}/5", f"{self.pick('strength', 'power', 'motor', 'grip')} {r.randint(1, 5)}/5 and {r.randint(1, 5)}/5", f"{self.pick('strength', 'pain', 'motor')} is {r.randint(1, 5)}/5 {self.pick('in', 'on')} the left and {r.randint(1, 5)}/5 on the right", f"pain {r.randint(1, 10)}/10, now {r.randint(1, 10)}/10", f"{r.randint(1, 4)}+ pulses", f"MMSE {r.randint(10, 30)}/30", f"PHQ-9 {r.randint(0, 27)}", f"Apgar {r.randint(1, 9)}/{r.randint(1, 9)}", f"ASA {r.randint(1, 4)}", f"NYHA class {self.pick('I', 'II', 'III')}", f"vision 20/{r.choice([20, 25, 40, 100, 200])}", f"{r.randint(1, 3)}/{r.randint(4, 6)} systolic murmur",
                         f"reflexes {r.randint(1, 3)}+", f"grade {r.randint(1, 4)}", f"{r.randint(10, 60)} pack-years", f"EF {r.randint(15, 40)}-{r.randint(41, 70)}%", f"a {r.randint(90, 119)}% stenosis", f"bands {r.randint(1, 30)}", f"{r.randint(90, 180)} degrees of flexion", f"1/2 tablet", f"scored {r.randint(1, 10)} out of 10", f"{r.randint(1, 9)} of {r.randint(10, 20)} nodes")

    def eponym(self):
        name = self.random.choice(EPONYMS)
        return self.pick(f"{name}{self.pick(chr(39) + 's', '', '')} {self.random.choice(EPONYM_OF)}", f"{name}{self.pick(chr(39) + 's', '')} {self.random.choice(EPONYM_OF)}", f"{self.pick('No', 'Positive', 'Negative')} {name} {self.pick('sign', 'test')}")

    # Slots.

    def slot(self, name, people):
        """What stands in a slot, as markup."""
        everyone = people.setdefault("all", [])
        person = self.person(everyone) if name in {"name", "last", "first", "lastfirst", "upperlastfirst", "initials", "email", "url", "user", "file", "nick"} else None
        words = people.setdefault("words", self.pick(("she", "her", "her"), ("he", "his", "him"), ("they", "their", "them")))
        r = self.random
        match name:
            case "they" | "their" | "them":
                return words[("they", "their", "them").index(name)]
            case "name":
                return f"[[NAME:{self.name(person)}]]"
            case "last":
                return f"[[NAME:{person[2]}]]"
            case "first":
                return f"[[NAME:{person[0]}]]"
            case "lastfirst":
                return f"[[NAME:{person[2]}, {person[0]}{self.pick('', '', ' ' + person[1][0], ' ' + person[1][0] + '.', ' ' + person[1])}]]"
            case "upperlastfirst":
                return f"[[NAME:{person[2].upper()}{self.pick(', ', ',', ' ', '^')}{person[0].upper()}{self.pick('', '', ' ' + person[1][0])}]]"
            case "initials":
                g, m, f = (part[0] for part in person)
                return f"[[NAME:{self.pick(f'{g}.{f}.', f'{g}{m}{f}', f'{g}.{m}.{f}.', f'{g}. {f}.', f'{g}{f}', f'{g}. {m}. {f}.', f'{g}/{f}')}]]"
            case "letter":
                return f"[[NAME:{letters_of(r, 1)}]]"
            case "nick":
                return f"[[NAME:{self.pick(self.one_given(), self.one_family(), self.name(person))}]]"
            case "kin":
                return r.choice(KIN)
            case "degree":
                return r.choice(DEGREES)
            case "date":
                return f"[[DATE:{self.date()}]]"
            case "dob":
                return f"[[DATE:{self.date(1936, 2024)}]]"
            case "time":
                return f"<<{self.pick(f'{r.randint(0, 23):02}:{r.randint(0, 59):02}', f'{r.randint(1, 12)}:{r.randint(0, 59):02} {self.pick(chr(97), chr(112))}m', f'{r.randint(0, 23):02}{r.randint(0, 59):02}', f'{r.randint(1, 12)} PM')}>>"
            case "year":
                return str(r.randint(1950, 2025))
            case "young":
                age = r.randint(1, 89)
                return self.pick(f"{age}-year-old", f"{age} year old", f"{age} y/o", f"{age}yo", f"{age} years old", f"{age} y.o.", f"{age}", f"{r.randint(1, 11)} month old", f"{age}-yr-old", f"{age}F", f"{age} M")
            case "age":
                return self.age()
            case "agenum":
                age = self.over()
                return f"[[AGE:{self.in_words(age) if r.random() < 0.15 else age}]]"
            case "org":
                return f"[[ORG:{self.organisation()}]]"
            case "city":
                return f"[[CITY:{self.town()}]]"
            case "state":
                return f"<<{r.choice(places.STATES)}>>"
            case "street":
                return f"[[ADDRESS:{self.street()}]]"
            case "address":
                return f"[[ADDRESS:{self.address()}]]" if r.random() < 0.5 else self.full_address(", ")
            case "addressall":
                return self.full_address(self.pick(", ", ", ", " ", "; "))
            case "addresslines":
                return self.full_address("\n")
            case "zip":
                return f"[[ZIP:{self.zip()}]]"
            case "phone":
                return f"[[PHONE:{self.phone()}]]"
            case "email":
                return f"[[EMAIL:{self.email(person)}]]"
            case "url":
                return f"[[URL:{self.url(person)}]]"
            case "user":
                return f"[[OTHER:{self.handle(person)}]]"
            case "ip":
                return f"[[IP:{self.ip()}]]"
            case "file":
                return f"[[PHOTO:{self.file(person)}]]"
            case "code":
                return f"[[OTHER:{self.code()}]]"
            case "ssn":
                return f"[[SSN:{self.ssn()}]]"
            case "plate":
                return f"[[VEHICLE:{self.plate()}]]"
            case "card":
                return f"[[ACCOUNT:{self.card()}]]"
            case "room":
                return self.pick(str(r.randint(1, 999)), f"{r.randint(1, 12)}{letters_of(r, 1)}", f"{letters_of(r, 1)}{r.randint(1, 60)}", f"{r.randint(2, 9)} West", "ICU 4")
            case "over":
                return str(self.over())
            case "stamp":
                return self.day(1930, 2024).strftime("%Y%m%d")
            case "country":
                return f"<<{r.choice(places.COUNTRIES)}>>"
            case "word" | "capital" | "upper":
                text = r.choice(self.words).split("'")[0]
                return {"word": text, "capital": text.capitalize(), "upper": text.upper()}[name]
            case "small":
                return str(r.randint(1, 99))
            case "clinical":
                text = r.choice(SYMPTOMS)
                return self.pick(text, text, text, text.lower(), text.upper(), text.title())
            case "heading":
                text = r.choice(HEADINGS)
                return self.pick(text, text, text.upper(), text.lower(), text.capitalize())
        return getattr(self, name)()
