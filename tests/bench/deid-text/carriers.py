"""Notes of the corpus as carriers of injected identifiers.

The notes hold names, dates and places of their own that nobody has labelled. A sentence that may hold one is left out:
one with a capitalised word inside that is neither an abbreviation nor on the list below, a month, a long number, a
number of two digits or more beside another by a stroke, or an age of 90 or more. What stays is text of which it is known
that nothing in it identifies anybody, so that every redaction in it is one too many.
"""

import csv
import hashlib
import os
import pathlib
import re

csv.field_size_limit(1 << 24)

# (file, column of the note)
FILES = [
    ("aci-bench/train.csv", "note"),
    ("aci-bench/valid.csv", "note"),
    ("mts-dialog/MTS-Dialog-TrainingSet.csv", "section_text"),
    ("mts-dialog/MTS-Dialog-ValidationSet.csv", "section_text"),
]

# Words that the notes write with a capital letter and that name nobody: brands, eponyms, tests, headings.
CAPITALISED = set("""
Abdomen Accutane Achilles Active Adderall Addison's Advair Advil Aircast Aldactone Aleve Allegra Alzheimer Alzheimer's
Aristocort Assessment Atrovent Avalide Bactrim Bactroban Benadryl Botox Brain Brilinta Bumex Buspar Carafate Cardizem
Cardura Caucasian Celestone Cervical Cetaphil Chantix Charcot-Marie Childhood Cialis Cipro Cisplatin Claritin Clindamycin
Clozaril Colles Colon Combivent Congestive Continue Cortisol Coumadin Counseling Cozaar Crestor Crohn's Cushing's
CyberKnife Cymbalta Daypro Denies Depo-Medrol Dilantin Dilaudid Ditropan Doppler Doxepin Drugs Dynasplint Ears Education
Effexor Elavil English EpiPen Examination Failure Farxiga Father Fibrillation Finasteride Flexeril Flomax Flonase
Fluocinonide Fluticasone Folate Foley Function Gatorade Gel Gleason Glucotrol Heart Hemoccult Hepatomegaly History Hodgkin
Hodgkin's Homan's Hoffman's Hx Ibuprofen IgA IgG Imitrex Intact Intensity Invega Iron Keflex Keppra Klonopin Lamictal
Lamisil Lasix Levaquin Levothroid Lexapro Lhermitte's Lidoderm Lipitor Lisfranc Lortab Lungs Lupron Lyme Lyrica Macrobid
Marijuana Mavik McMurray Mederma Medrol Metformin Mevacor Microgestin Micronase Mobic Mother Motion Motrin Mouth Muscles
Musculoskeletal Mylanta Naprosyn Negative Neurontin Nexium Norvasc Nose NSAIDs OxyContin Pain Panel Pap Parkinson's Past
Patient Pedialyte Pepcid Peroxide Phalen's Physical Plaquenil Point Postoperative Premarin Pressure Prilosec Procrit
Proscar Protein Protonix Prozac Pulmonary Rate Reasoning Referrals Respiratory Right Risperdal Salmeterol Saturation Scale
Schatzker Seroquel She Sinemet Singulair Slight Spine Status Strength Sulfate Suppression Symbicort Syndrome Synthroid Tab
Taxol Temperature Test Testing Tests Throat Tinel Tobacco Topamax Toprol Tourette's Tramadol Treatment Trizivir Tums
Tylenol Type Uhthoff's Ultram Unithroid Use Valsalva Versed Viagra Vicodin Vitamin Von Vulgaris Weight Wellbutrin Xanax
Yellow Zithromax Zoloft Zostrix Zyprexa Zyrtec He The Her His No Yes Not Follow Normal Positive
""".split())

# At the start of a sentence every word has a capital letter; these are the ones that may begin one. Anything else is
# looked up in lower case among the words that the notes themselves write in lower case.
SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|\n|$)|\n")
WORD = re.compile(r"[^\W\d_][^\W\d_'’-]*(?:['’-][^\W\d_]+)*")
MONTH = re.compile(
    r"\b(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may \d|in may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?"
    r"|nov(ember)?|dec(ember)?|thanksgiving|christmas|easter|labor day|new year|[a-z]*day weekend)\b", re.IGNORECASE)
NUMBERS = re.compile(r"\d{5,}|\d{3}-\d{4}|\d{1,2}[/-]\d{1,2}[/-]\d{2,4}|\b(0?\d|1[0-2])/\d{1,4}\b(?! (strength|systolic|quad|mur))|\b9\d[- ]?y|\b1[0-2]\d[- ]y|@|www|http|#",
                     re.IGNORECASE)
# Notes of this corpus blank names out so.
BLANKED = re.compile(r"\b(ABC|ABCD|XYZ|ASDF|UIHC|MM|DD|YYYY|[A-Z]\b\. ?[A-Z]\b|Drs?|Mrs?|Ms|Miss|St|UIHC)\b")

# A document has so many characters of carrier at most, and a note fewer than so many is left out.
CARRIER_MAX = 1_800
CARRIER_MIN = 120


def corpus():
    """The folder of the corpus."""
    beside = pathlib.Path(__file__).resolve().parents[3].parent / "shared/corpus"
    return pathlib.Path(os.environ.get("WARDGATE_CORPUS", beside)) / "deid"


def notes():
    """`(name, text)` of every note."""
    for path, column in FILES:
        with open(corpus() / path, encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                yield f"{path}:{number}", row[column].replace("\r\n", "\n")


def split_of(note):
    """The split of a note: by its text, so that a note that stands twice is not in both. A third is for the test."""
    digest = hashlib.sha256(" ".join(note.lower().split()).encode()).digest()
    return "test" if digest[0] % 3 == 0 else "dev"


def carriers(split):
    """`[sentence, …]` for each note of a split, without sentences that may identify somebody. In order, seedless."""
    texts = list(notes())
    small = set()
    for _, text in texts:
        small.update(word for word in WORD.findall(text) if word.islower())
    result = []
    for _, text in texts:
        if split_of(text) != split:
            continue
        kept, size = [], 0
        for sentence in SENTENCE.findall(text):
            sentence = sentence.strip(" \t")
            if size + len(sentence) > CARRIER_MAX:
                break
            if sentence == "\n" or clean(sentence, small):
                kept.append(sentence)
                size += len(sentence)
        if size >= CARRIER_MIN:
            result.append(kept)
    return result


def clean(sentence, small):
    """Whether nothing in a sentence can identify anybody."""
    if MONTH.search(sentence) or NUMBERS.search(sentence) or BLANKED.search(sentence):
        return False
    for place, word in enumerate(WORD.findall(sentence.replace("’", "'"))):
        if word.islower() or word in CAPITALISED:
            continue
        if word.isupper() and (len(word) <= 4 or word.lower() in small):
            continue
        if (place == 0 or sentence.isupper()) and word.lower() in small:
            continue
        # Headings and lists in title case: a word that the notes also write small, beside another such one.
        if word.lower() in small and word[1:].islower() and ":" in sentence:
            continue
        return False
    return True
