"""Names of people and places, a half for each split.

People's names come from Faker's lists of many countries, each to one split by its hash, and one in eight surnames is made of
syllables, so that no dictionary has it. Places, hospitals and employers are lists here, one a split.
"""

import hashlib
import importlib
import unicodedata

# Countries whose lists are in Latin letters, with their weight. The two splits share countries, not names.
COUNTRIES = {
    "en_US": 8, "en_GB": 2, "en_IE": 1, "en_IN": 2, "en_KE": 1, "en_NG": 1, "es_MX": 3, "es_CO": 1, "fr_FR": 1, "de_DE": 1,
    "it_IT": 1, "pl_PL": 1, "nl_NL": 1, "pt_BR": 1, "tr_TR": 1, "tw_GH": 1, "yo_NG": 1, "zu_ZA": 1, "vi_VN": 1, "id_ID": 1,
    "hr_HR": 1, "sv_SE": 1, "en_PK": 1, "fr_DZ": 1, "cs_CZ": 1, "hu_HU": 1, "fi_FI": 1, "ro_RO": 1,
}

# Given and family names that Faker's lists lack, in the spelling of American charts.
MORE_GIVEN = """Nguyet Thuy Minh Linh Hoang Quoc Xiaoming Weiling Jianhong Meiyu Haruki Yuko Kenji Sora Ji-woo Seung-ho
Hyun-jin Min-seo Ngozi Chidinma Adaeze Obinna Kwabena Abena Amara Fatoumata Mamadou Aissatou Yusuf Khadija Mariam Tariq
Nasreen Parvaneh Shirin Dariush Arjun Lakshmi Venkat Priyanka Sunita Harpreet Gurdeep Malia Keanu Leilani Tala Nizhoni
Xochitl Itzel Citlali Saoirse Niamh Caoimhe Siobhan Eoghan Anneliese Matthias Bjorn Sigrun Oksana Volodymyr Svetlana Dmitri
LaToya DeShawn Shaniqua Jamal Tyrell Keisha Marquise Ebony Trayvon Aaliyah Rosalia Guadalupe Concepcion Refugio Socorro
Yesenia Marisol Ximena Hermelinda Bich Phuong Duc Kha Bao Chau Soledad Inocencio Wojciech Agnieszka Zbigniew Malgorzata
Efrosyni Athanasios Anahit Vartan Hripsime Levan Nino Gulnara Aibek Temur Hassan Zainab Layla Omar Sadia Bilal""".split()
MORE_FAMILY = """Nguyen Tran Pham Huynh Vo Dang Bui Chen Zhang Huang Zhao Ouyang Szeto Tanaka Yamamoto Kobayashi
Ishikawa Kim Park Choi Jeong Kwon Okonkwo Adeyemi Chukwu Balogun Mensah Boateng Owusu Diallo Traore Keita Hussein Rahman
Siddiqui Qureshi Khan Tehrani Farahani Patel Krishnamurthy Subramanian Venkataraman Iyer Gupta Chatterjee Singh Kaur Kealoha
Kamaka Begay Yazzie Tsosie Xiong Vang Moua Bounyavong Sok Chhim Reyes Villanueva Macaraeg Dela-Cruz Saechao Petrosyan
Hakobyan Gevorgyan Kvaratskhelia Beridze Abdullayev Karimov Shevchenko Kovalenko Papadopoulos Stavridis Szczepanski
Wojciechowska Grzybowski Vasquez-Ortiz Echeverria Goikoetxea Etxeberria Quispe Mamani Tekle Gebremedhin Tesfaye Woldemariam
Hailemariam Ogunleye Nwachukwu Eze Wanjiru Odhiambo Moyo Ndlovu Tshabalala Faleolo Tuiasosopo Taumalolo""".split()

PARTICLES = {
    "dev": ["de la {}", "van der {}", "O'{}", "Mc{}", "al-{}", "St. {}"],
    "test": ["von {}", "D'{}", "del {}", "Mac{}", "bin {}", "El-{}", "de {}", "Van {}"],
}
SUFFIXES = {"dev": ["Jr.", "III"], "test": ["Sr.", "II", "Jr"]}
NICKNAMES = {
    "dev": ["Bobby", "Liz", "Chuck", "Peggy", "Junior", "Mimi", "Tex", "Kiki", "Hank", "Dot", "Buddy", "Trish"],
    "test": ["Bill", "Beth", "Sonny", "Gigi", "Red", "Lulu", "Skip", "Nana Jo", "Teddy", "Winnie", "Ace", "Mags"],
}
SYLLABLES = {
    "dev": (["Bran", "Kor", "Tel", "Mas", "Vin", "Hal", "Dor", "Sel", "Quar", "Ober"],
            ["a", "e", "i", "o", "en", "il"], ["dick", "mont", "vale", "ski", "reth", "num", "zano", "lund", "per", "wig"]),
    "test": (["Fal", "Gri", "Lom", "Zed", "Pri", "Wes", "Thro", "Jur", "Ank", "Nev"],
             ["u", "ar", "y", "o", "es", "in"], ["bach", "kova", "gate", "tini", "moor", "dahl", "quist", "field", "rri", "shaw"]),
}

CITIES = {
    "dev": """Tulsa;Spokane;Chattanooga;Boise;Duluth;El Paso;Santa Rosa;Fort Collins;Macon;Erie;Bakersfield;Yuma;Bangor;
Ocala;Lubbock;Fargo;Peoria;Green Bay;Hattiesburg;Kalamazoo;Missoula;Reno;Salinas;Utica;Waco;St. Cloud;New Haven;Bend;Lima;
Mobile;Reading;Paris, Texas;Ypsilanti;Winston-Salem;Cheyenne;Biloxi;Dubuque;Eugene;Flagstaff;Gainesville""",
    "test": """Albuquerque;Toledo;Knoxville;Sioux Falls;Wichita Falls;Amarillo;Pueblo;Las Cruces;Eau Claire;Racine;Modesto;
Billings;Portland;Augusta;Tallahassee;Beaumont;Bismarck;Rockford;Oshkosh;Tupelo;Battle Creek;Walla Walla;Sparks;Oxnard;
Schenectady;Abilene;St. Joseph;Stamford;Corvallis;Dayton;Huntsville;Intercourse;Moscow, Idaho;Poughkeepsie;Wilkes-Barre;
Laramie;Pascagoula;Ames;Medford;Sedona;Coeur d'Alene;Truth or Consequences;Normal""",
}
CITIES = {split: names.replace("\n", "").split(";") for split, names in CITIES.items()}
COUNTIES = {"dev": ["Pima County", "Kern County", "Harris County", "Polk County", "Bibb County"],
            "test": ["Cook County", "Dane County", "Bernalillo County", "Knox County", "St. Louis County", "Orange County"]}
STREETS = {
    "dev": ["Maple {}", "N. Juniper {}", "Old Mill {}", "West 14th {}", "Harrison {}", "County {} 12", "Cedar Ridge {}",
            "San Pedro {}", "Lincoln {}", "Fox Hollow {}", "SE Burnside {}", "Willow Creek {}"],
    "test": ["Birch {}", "S. Magnolia {}", "Quarry {}", "East 3rd {}", "Jefferson {}", "State {} 7", "Stone Bridge {}",
             "Camino Real {}", "Martin Luther King Jr. {}", "Heron Landing {}", "NW Pettygrove {}", "Via Dolorosa {}",
             "Beech {}", "Avenida Cesar Chavez {}"],
}
STREET_KINDS = {"dev": ["Street", "Ave", "Road", "Lane", "Blvd", "Dr."],
                "test": ["St", "Avenue", "Rd.", "Court", "Pkwy", "Drive", "Terrace", "Way", "Circle"]}
STATES = {"dev": ["TX", "Ohio", "WA", "Georgia", "MI", "CA", "Minnesota"],
          "test": ["NM", "Wisconsin", "OR", "Tennessee", "NY", "IL", "North Dakota", "N.C."]}
HOSPITALS = {
    "dev": ["Mercy General Hospital", "St. Luke's Medical Center", "Northside Clinic", "Lakeview Nursing Home",
            "{family} Memorial Hospital", "University of Tulsa Health Center", "Riverside Rehab", "Good Samaritan",
            "{city} Family Practice", "Valley Dialysis Center", "Veterans Hospital of {city}"],
    "test": ["Sacred Heart Infirmary", "St. Brendan's Hospital", "Eastgate Surgical Associates", "Pinecrest Manor",
             "{family}-{family} Cancer Institute", "Children's Hospital of {city}", "Providence Regional", "Mount Tabor Hospice",
             "{city} Women's Health Group", "Bayfront Urgent Care", "{city} VA", "Hilltop Assisted Living",
             "{family} & {family} Dermatology", "Our Lady of Lourdes", "Three Rivers Community Health"],
}
EMPLOYERS = {
    "dev": ["Acme Roofing", "Walmart", "Boeing", "{family} Brothers Trucking", "Lincoln High School", "Tyson Foods",
            "Delta Air Lines", "<<the>> {city} Fire Department", "Starbucks", "{family} Law Group"],
    "test": ["Home Depot", "Lockheed Martin", "{family} & Sons Plumbing", "Jefferson Elementary", "Smithfield Packing",
             "Union Pacific", "<<the>> {city} Police Department", "Chipotle", "First Baptist Church", "{family} Accounting LLC",
             "Kroger", "Oak Grove Middle School", "UPS", "Amazon", "Greyhound"],
}
PLANS = {"dev": ["Aetna", "Blue Cross", "Medicaid", "Humana"],
         "test": ["UnitedHealthcare", "Cigna", "Medicare", "Kaiser", "Tricare", "Molina"]}
MAKERS = {"dev": ["Medtronic", "St. Jude", "Stryker"], "test": ["Boston Scientific", "Abbott", "Biotronik", "Zimmer"]}
CARS = {"dev": ["Ford F-150", "blue Corolla", "Chevy Tahoe"], "test": ["red Civic", "Subaru Outback", "Jeep", "white van"]}
DOMAINS = {"dev": ["example.com", "mailhub.net", "valley-clinic.org", "uni.edu"],
           "test": ["example.org", "inboxly.co", "eastgate.health", "state.edu", "familymail.us"]}


def half(word):
    """The split of a name."""
    return "test" if hashlib.sha256(word.casefold().encode()).digest()[0] & 1 else "dev"


def latin(word):
    """Whether a name is in Latin letters, as an American chart has it."""
    return all(not c.isalpha() or unicodedata.name(c, "").startswith("LATIN") for c in word) and len(word) > 1


def people():
    """`{country: (given, family)}`, from Faker."""
    result = {}
    for country in COUNTRIES:
        provider = importlib.import_module(f"faker.providers.person.{country}").Provider
        given = [*getattr(provider, "first_names", ()), *getattr(provider, "first_names_female", ()),
                 *getattr(provider, "first_names_male", ())]
        family = [*getattr(provider, "last_names", ()), *getattr(provider, "last_names_female", ())]
        given, family = (sorted({name for name in names if isinstance(name, str) and latin(name)})
                         for names in (given, family))
        if len(given) > 5 and len(family) > 5:
            result[country] = (given, family)
    return result


class Pools:
    """What a split may use."""

    def __init__(self, split, random):
        self.split, self.random = split, random
        lists = people()
        self.countries = []
        for country, (given, family) in lists.items():
            mine = ([n for n in given if half(n) == split], [n for n in family if half(n) == split])
            if all(mine):
                self.countries += [mine] * COUNTRIES[country]
        more = ([n for n in MORE_GIVEN if half(n) == split], [n for n in MORE_FAMILY if half(n) == split])
        self.countries += [more] * 6

    def of(self, table):
        """One of a table's entries for this split."""
        return self.random.choice(table[self.split])

    def person(self):
        """`(given, middle, family)`."""
        given, family = self.random.choice(self.countries)
        # People marry and move: one in five has a given name from elsewhere.
        if self.random.random() < 0.2:
            given = self.random.choice(self.countries)[0]
        return self.random.choice(given), self.random.choice(given), self.family(family)

    def family(self, names=None):
        """A family name, now and then one that no list holds, with a particle, or double."""
        names = names or self.random.choice(self.countries)[1]
        name, dice = self.random.choice(names), self.random.random()
        if dice < 0.125:
            start, middle, end = SYLLABLES[self.split]
            name = self.random.choice(start) + self.random.choice(middle) + self.random.choice(end)
        elif dice < 0.18:
            name = self.of(PARTICLES).format(name)
        elif dice < 0.22:
            name = f"{name}-{self.random.choice(names)}"
        return name

    def fill(self, pattern):
        """A pattern of the tables above with its names."""
        while "{family}" in pattern:
            pattern = pattern.replace("{family}", self.random.choice(self.random.choice(self.countries)[1]), 1)
        return pattern.replace("{city}", self.of(CITIES).split(",")[0])
