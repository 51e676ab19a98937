"""Towns, streets, employers and hospitals to train on, none of them in the benchmark's lists, and the parts to make more of."""

TOWNS = """Phoenix;Tucson;Denver;Seattle;Tacoma;Boston;Worcester;Chicago;Naperville;Houston;Dallas;Austin;San Antonio;
San Diego;San Jose;Los Angeles;Sacramento;Fresno;Oakland;Long Beach;Philadelphia;Pittsburgh;Scranton;Cleveland;Columbus;
Cincinnati;Akron;Detroit;Lansing;Grand Rapids;Minneapolis;Rochester;Milwaukee;Madison;Des Moines;Cedar Rapids;Omaha;Kansas City;
Topeka;Wichita;Little Rock;Memphis;Nashville;Louisville;Lexington;Atlanta;Savannah;Charlotte;Raleigh;Durham;Charleston;
Richmond;Norfolk;Baltimore;Annapolis;Wilmington;Newark;Trenton;Camden;Buffalo;Syracuse;Albany;Brooklyn;Queens;Yonkers;Hartford;
Bridgeport;Providence;Burlington;Concord;Miami;Orlando;Tampa;Jacksonville;Pensacola;Mobile Bay;Birmingham;Montgomery;Jackson;
New Orleans;Baton Rouge;Shreveport;Oklahoma City;Norman Park;Salt Lake City;Provo;Ogden;Las Vegas;Henderson;Honolulu;Hilo;
Anchorage;Juneau;Fairbanks;Helena;Butte;Casper;Rapid City;Grand Forks;Minot;Salem;Ashland;Twin Falls;Idaho Falls;Pocatello;London;
Manchester;Leeds;Glasgow;Edinburgh;Cardiff;Belfast;Dublin;Cork;Galway;Toronto;Ottawa;Montreal;Vancouver;Calgary;Winnipeg;
Halifax;Sydney;Melbourne;Brisbane;Perth;Adelaide;Auckland;Wellington;Berlin;Munich;Hamburg;Cologne;Leipzig;Vienna;Graz;Zurich;
Geneva;Paris;Lyon;Marseille;Toulouse;Nantes;Madrid;Barcelona;Seville;Valencia;Lisbon;Porto;Rome;Milan;Naples;Turin;Athens;
Amsterdam;Utrecht;Rotterdam;Brussels;Ghent;Copenhagen;Aarhus;Oslo;Bergen;Stockholm;Malmo;Helsinki;Tampere;Warsaw;Krakow;Gdansk;
Prague;Brno;Budapest;Bucharest;Sofia;Zagreb;Belgrade;Istanbul;Ankara;Izmir;Cairo;Lagos;Ibadan;Accra;Kumasi;Nairobi;Mombasa;
Johannesburg;Durban;Cape Town;Mumbai;Pune;Delhi;Chennai;Bangalore;Hyderabad;Kolkata;Karachi;Lahore;Dhaka;Manila;Cebu;Hanoi;
Saigon;Bangkok;Jakarta;Tokyo;Osaka;Kyoto;Seoul;Busan;Beijing;Shanghai;Guangzhou;Taipei;Guadalajara;Monterrey;Tijuana;Puebla;
Oaxaca;Bogota;Medellin;Cali;Lima;Cusco;Quito;Santiago;Buenos Aires;Cordoba;Montevideo;Sao Paulo;Rio de Janeiro;Recife;Havana;
San Juan;Ponce;Kingston;Port-au-Prince;Santo Domingo;Tehran;Kabul;Baghdad;Beirut;Amman;Tel Aviv;Haifa;Dubai;Kyiv;Lviv;Moscow;
Minsk;Vilnius;Riga;Tallinn;Yerevan;Tbilisi;Baku""".replace("\n", "").split(";")
COUNTRIES = """France;Germany;Mexico;India;Nigeria;Brazil;Vietnam;Italy;Canada;Poland;Kenya;Peru;Japan;Korea;Haiti;Iran;Cuba;
Ireland;Ukraine;Somalia;Ghana;Spain;Norway;Jamaica;El Salvador;the United Kingdom;the Philippines;the Netherlands""".replace("\n", "").split(";")
STATES = """AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC
SD TN TX UT VT VA WA WV WI WY DC PR Alabama Alaska Arizona Arkansas California Colorado Connecticut Delaware Florida Georgia Hawaii
Idaho Illinois Indiana Iowa Kansas Kentucky Louisiana Maine Maryland Massachusetts Michigan Mississippi Missouri Montana Nebraska
Nevada Oklahoma Oregon Pennsylvania Utah Vermont Virginia Wyoming""".split() + ["New York", "New Jersey", "South Carolina", "West Virginia"]
TOWN_START = "North South East West New Port Lake Mount Fort Glen Upper Lower Old Little Saint Santa San Los El Point Cape Bay Grand".split()
TOWN_END = "ville ton burg burgh field ford wood ham stead mont dale view port bridge haven worth by bury shire brook hurst land ley".split()
TOWN_LAST = "Springs City Falls Heights Beach Park Hills Valley Grove Junction Creek Harbor Bluff Ridge Point Village Township Crossing".split()
COUNTY = ["{} County", "{} Parish", "County of {}", "{} Township", "{} Borough", "{} District"]

STREET_WORDS = """Oak Elm Pine Walnut Chestnut Spruce Hickory Sycamore Poplar Laurel Magnolia Dogwood Orchard Meadow Prairie Sunset Sunrise
Highland Hillside Ridge Valley River Lake Ocean Bay Forest Park Garden Spring Mill Church School College University Station Depot
Market Main Center Central Front Water Union Liberty Franklin Madison Monroe Adams Washington Jackson Grant Sherman Mason King Queen
Prince Victoria Albert George Princess Canal Bridge Ferry Dock Harbor Industrial Commerce Enterprise Airport Railroad Rose Lily Violet
Holly Ivy Fern Deer Bear Eagle Hawk Falcon Robin Swan Wolf Fox Beaver Buffalo Cottonwood Aspen Juniper Cypress Palm Palmetto""".split()
STREET_KINDS = """Street St St. Avenue Ave Ave. Road Rd Rd. Lane Ln Drive Dr Dr. Court Ct Place Pl Boulevard Blvd Blvd. Parkway Pkwy Way
Terrace Ter Circle Cir Trail Trl Highway Hwy Square Sq Loop Crescent Close Gardens Row Walk Alley Plaza Pike Turnpike Crossing Run Path
Mews Heights Point Landing Grove Commons Expressway""".split()
DIRECTIONS = "N S E W N. S. E. W. NE NW SE SW North South East West Northeast Southwest".split()
UNITS = ["Apt {}", "Apt. {}", "Apartment {}", "Unit {}", "#{}", "# {}", "Suite {}", "Ste {}", "Ste. {}", "Floor {}", "Fl {}", "Bldg {}", "Building {}",
         "Lot {}", "Room {}", "Rm {}", "Trailer {}", "Flat {}"]

HOSPITAL_END = """Hospital;Medical Center;Clinic;Health Center;Regional Medical Center;Memorial Hospital;General Hospital;Community Hospital;
Children's Hospital;University Hospital;Nursing Home;Rehabilitation Center;Rehab;Hospice;Urgent Care;Surgery Center;Surgical Center;
Cancer Center;Heart Institute;Eye Center;Eye Associates;Dental;Family Medicine;Internal Medicine;Pediatrics;Women's Center;Health System;
Health;Healthcare;Medical Group;Physicians;Associates;Dialysis;Imaging;Radiology;Laboratory;Labs;Pharmacy;Drugs;Home Care;Home Health;
Assisted Living;Care Center;Senior Living;Behavioral Health;Psychiatric Hospital;Orthopedics;Cardiology;Oncology;Pain Clinic;Infirmary;
Trauma Center;Birth Center;Wellness Center;Veterans Home;VA Medical Center;Convalescent Home;Manor;Retreat;Sanatorium""".replace("\n", "").split(";")
HOSPITAL_START = """Mercy;St. Mary's;St. Joseph's;St. Anne's;Holy Cross;Good Shepherd;Bethany;Trinity;Grace;Hope;Sunrise;Sunnyside;Lakeside;
Riverview;Hillcrest;Cedarwood;Oakwood;Maplewood;Northwest;Southeast;Midtown;Downtown;Uptown;Central;Metro;Summit;Pinnacle;Harbor;Bayview;
Evergreen;Golden Valley;Silver Lake;Blue Ridge;Red Rock;Mountain View;Prairie View;St. Francis;St. Elizabeth;St. Vincent's;Mount Sinai;
Beth Israel;Presbyterian;Methodist;Baptist;Lutheran;Adventist;Jewish;Shriners;County;City;State;University;Kindred;Genesis;Legacy;Premier;
Advanced;Heritage;Cornerstone;Crossroads;Magnolia;Willow;Aspen;Cypress""".replace("\n", "").split(";")
HOSPITAL_FORMS = ["{start} {end}", "{start} {end}", "{family} {end}", "{town} {end}", "{end} of {town}", "{start} {end} of {town}",
                  "{family} and {family} {end}", "{family}-{family} {end}", "{start} {family} {end}", "University of {town} {end}", "{town} {start} {end}",
                  "St. {given}'s {end}", "Our Lady of {start}", "{given} {family} {end}", "The {family} {end}", "{start} at {town}", "{street} {end}"]
FIRMS = """Google;Microsoft;Apple;Facebook;Netflix;Costco;Target;Safeway;FedEx;DHL;Verizon;Comcast;IBM;Intel;Oracle;Cisco;Ford Motor Company;
General Motors;Toyota;Honda;Siemens;Bosch;Pfizer;Merck;Nestle;Pepsi;Coca-Cola;McDonald's;Burger King;Subway;Wendy's;Taco Bell;Dunkin Donuts;
Best Buy;Lowe's;Macy's;Nordstrom;Sears;CVS;Walgreens;Rite Aid;Wells Fargo;Chase Bank;Citibank;Bank of America;State Farm;Allstate;Geico;
Southwest Airlines;United Airlines;JetBlue;Marriott;Hilton;Hyatt;Disney;Caterpillar;John Deere;Harley-Davidson;Exxon;Chevron;Shell;BP;
Harvard University;Stanford;Yale;MIT;Ohio State;UCLA;Purdue University;Boston College;Rutgers""".replace("\n", "").split(";")
FIRM_END = """Inc;Inc.;LLC;Ltd;Corp;Corporation;Company;Co.;& Co;Group;Partners;& Sons;Brothers;Bros.;and Daughters;Industries;Enterprises;Logistics;
Trucking;Construction;Roofing;Plumbing;Electric;Landscaping;Motors;Auto Body;Auto Repair;Bakery;Diner;Cafe;Grill;Pizza;Market;Grocery;Farms;Ranch;
Nursery;Salon;Barber Shop;Cleaners;Security;Staffing;Consulting;Law Firm;Law Office;Insurance;Realty;Bank;Credit Union;Software;Systems;Labs;
Press;Publishing;Foods;Packing;Steel;Mills;Lumber;Furniture;Hardware;Chemicals;Energy;Airlines;Shipping;Elementary School;Elementary;High School;
Middle School;Academy;College;University;Community College;School District;Preschool;Daycare;Church;Baptist Church;Synagogue;Mosque;Library;
Fire Department;Police Department;Sheriff's Office;Post Office;Public Works;Transit;Museum;Zoo;Hotel;Inn;Resort;Casino;Theater""".replace("\n", "").split(";")
FIRM_FORMS = ["{family} {end}", "{town} {end}", "{family} & {family} {end}", "{street} {end}", "{family} and {family}", "{family}, {family} and {family}",
              "{family}-{family}", "{start} {end}", "{given}'s {end}", "{made} {end}", "{made}", "{family} {street} {end}", "{family} PLC"]
