use hl7::Message;
use proptest::prelude::*;

use super::*;

fn scrubbed(text: &str) -> String {
    scrub(text, &spans(text, &Known::default()), Label::SafeHarbor)
}

fn knowing(message: &str, text: &str) -> String {
    let known = Known::of_message(&Message::parse(message.replace('\n', "\r").into_bytes()).unwrap(), 2026);
    scrub(text, &spans(text, &known), Label::SafeHarbor)
}

#[test]
fn identifiers_become_their_category() {
    for (text, becomes) in [
        ("Seen by Dr. Alvarez on 3/14/2019 at 08:30 am.", "Seen by Dr. [NAME] on [DATE]."),
        ("Mr. Smith is a 94-year-old man.", "Mr. [NAME] is a [AGE]-year-old man."),
        ("MRN: 44521, SSN 123-45-6789", "MRN: [ID], SSN [SSN]"),
        ("Call (617) 555-0143 x12 or jane.doe@example.org.", "Call ([PHONE] or [EMAIL]."),
        ("Lives at 12 North Main Street Apt 4, MA 02139.", "Lives at [ADDRESS]."),
        ("Host 10.1.2.3, https://a.example/p?q=1", "Host [IP], [URL]"),
        ("Born March 3rd, 1931; again 2019-03-14T08:30:00Z", "Born [DATE]; again [DATE]"),
        ("Signed: Maria T. Gonzalez, MD", "Signed: [NAME], MD"),
        ("Transferred to Springfield General Hospital.", "Transferred to [FACILITY]."),
        ("Serial K7734512 was read.", "Serial [ID] was read."),
        ("Moved from 28245 Puruntie 82 Apt. 595, Lahti, Finland 53650.", "Moved from [ADDRESS]."),
        ("Found at the corner of Elm Street and Oak Avenue.", "Found at [ADDRESS]."),
        ("Seen on the twenty-seventh of February and last Tuesday.", "Seen on the [DATE] and last [DATE]."),
        ("Mail to P.O. Box 12, Reno, NV 89501", "Mail to [ADDRESS]"),
        ("Tag KLM 482, record VP-ZM-3446, photo IMG_4411.jpg", "Tag [ID], record [ID], photo [ID]"),
        ("Fax +46 (0)157 548 89, host 10.84.34.365", "Fax +[PHONE], host [IP]"),
        ("Her daughter, Alvarez, Maria T., lives in Reading.", "Her daughter, [NAME]., lives in [LOCATION]."),
        ("She works at Acme Roofing with Park and Mann.", "She works at [FACILITY] with [NAME] and [NAME]."),
        ("Seung-ho Bounyavong III was seen.", "[NAME] was seen."),
        ("Flown in from the United States.", "Flown in from the [LOCATION]."),
    ] {
        assert_eq!(scrubbed(text), becomes);
    }
}

#[test]
fn the_language_of_the_clinic_stays() {
    for text in [
        "Blood pressure 120/80, pulse 72, temp 98.6, pain 5/10.",
        "Crohn's disease; Foley catheter in place; Parkinson disease.",
        "Metformin 500 mg twice daily. Platelets 250000 cells.",
        "A 45-year-old man with chest pain. He may march on.",
        "HISTORY OF PRESENT ILLNESS: The patient denies fever.",
        "Vitamin B12 and E11.65; seen in 2019.",
        "CPT 99214, M54.50, T11-T12, G2P1001, 325mg/5ml, 250,000 copies.",
        "Stevens-Johnson syndrome; strength 4/5 and 5/5; pain 8/10; vision 20/40.",
        "Sodium 138, potassium 4.1, 1998-2004, 12.0-15.5.",
    ] {
        assert_eq!(scrubbed(text), text);
    }
}

#[test]
fn what_the_message_knows_is_found_in_any_spelling() {
    let message = "MSH|^~\\&|L|W|E|M|2026||ORU^R01|1|P|2.5\nPID|1||A-77812^^^W^MR||Quorvane^William||19310303|M|||9 Hollin Str^^Zarkov^MA^02139||617-555-0143";
    for (text, becomes) in [
        ("quorvane was seen", "[NAME] was seen"),
        ("Quorvarne was seen", "[NAME] was seen"),
        ("Qu\u{200b}orvane was seen", "[NAME] was seen"),
        ("QU0RVANE WAS SEEN", "[NAME] WAS SEEN"),
        ("Bill was seen", "[NAME] was seen"),
        ("number 77812 was seen", "number [ID] was seen"),
        ("near Zarkov", "near [LOCATION]"),
    ] {
        assert_eq!(knowing(message, text), becomes);
    }
}

#[test]
fn a_limited_data_set_keeps_its_dates() {
    let text = "Dr. Alvarez on 3/14/2019";
    let kept = scrub(text, &spans(text, &Known::default()), Label::LimitedDataSet);
    assert_eq!(kept, "Dr. [NAME] on 3/14/2019");
    let span = |range, category, confidence| Span { range, category, rule: "", confidence };
    let found = vec![span(0..4, Category::Location, 0.5), span(2..9, Category::Zip, 0.9)];
    let joined = apart(found, "some text");
    assert!(matches!(joined.as_slice(), [one] if one.range == (0..9) && one.category == Category::Location));
}

proptest! {
    #[test]
    fn spans_are_apart_and_end_at_characters(text in "\\PC*|([a-zA-Z0-9 .,:/@'-]|[éßжΩ\u{200b}０𝐀]){0,200}") {
        fuzz(text.as_bytes());
    }
}
