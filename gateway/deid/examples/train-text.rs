//! Trains the weights of `deid::text::tagger`, and applies the engine to labelled documents.
//!
//! ```text
//! train-text train --from DOCUMENTS.jsonl --to MODEL.zst
//! train-text spans --from DOCUMENTS.jsonl > SPANS.jsonl
//! train-text speed --from DOCUMENTS.jsonl
//! ```
//!
//! A document is what `tests/bench/deid-text/labels.py` describes. Training is a structured perceptron with a margin, its
//! weights averaged over all steps: Viterbi's path is led towards the labels of the document. Features that know a word as it
//! is written, and those that repeat what the rules said, are left out of some tokens at random, so that what stands around a
//! name must be enough. Everything is seeded and in one thread: the same documents give the same bytes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a tool of the workshop, over files of our own"
)]

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use aws_lc_rs::digest;
use deid::text::tagger::{LABELS, LEXICAL, Label, ROW_MASK, ROWS, RULED, Reading, pack, read, viterbi};
use deid::text::{Known, spans};
use serde_json::{Value, json};

const EPOCHS: usize = 8;
const SEED: u64 = 20_260;
/// A wrong label costs so much before it is wrong: more for what would be left than for what would be taken.
const MARGIN_LEFT: f32 = 12.0;
const MARGIN_TAKEN: f32 = 6.0;
/// Shares of tokens without their lexical features, and without what the rules said of them.
const WITHOUT_WORDS: u64 = 45;
const WITHOUT_RULES: u64 = 40;
/// Rows that fewer tokens of the documents have stay 0.
const TOKENS_OF_ROW_MIN: u32 = 4;
/// The largest weight after quantising.
const WEIGHT_MAX: f32 = 127.0;
type Outcome<T> = Result<T, Box<dyn Error>>;

struct Document {
    id: Value,
    text: String,
    /// Places in bytes.
    gold: Vec<(usize, usize, Label)>,
    either: Vec<(usize, usize)>,
}

struct Example {
    reading: Reading,
    /// For each token the labels that are right, as bits.
    right: Vec<u8>,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["train", "--from", from, "--to", file] => train(&documents(from)?, file),
        ["spans", "--from", from] => show(&documents(from)?),
        ["speed", "--from", from] => speed(&documents(from)?),
        _ => Err("train --from FILE --to FILE, spans --from FILE, or speed --from FILE".into()),
    }
}

fn documents(file: &str) -> Outcome<Vec<Document>> {
    std::io::BufReader::new(std::fs::File::open(file)?).lines().map(|line| document(&line?)).collect()
}

fn document(line: &str) -> Outcome<Document> {
    let value: Value = serde_json::from_str(line)?;
    let text = value["text"].as_str().ok_or("no text")?.to_owned();
    let mut places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    places.push(text.len());
    let place =
        |value: &Value| -> Option<usize> { places.get(usize::try_from(value.as_u64()?).ok()?).copied() };
    let empty = Vec::new();
    let list = |key: &str| value[key].as_array().unwrap_or(&empty);
    let gold = list("gold").iter().filter_map(|span| {
        Some((place(&span["start"])?, place(&span["end"])?, label(span["category"].as_str()?)?))
    });
    let either = list("either").iter().filter_map(|part| Some((place(&part[0])?, place(&part[1])?)));
    Ok(Document { id: value["id"].clone(), gold: gold.collect(), either: either.collect(), text })
}

fn label(category: &str) -> Option<Label> {
    Some(match category {
        "NAME" => Label::Name,
        "ORG" => Label::Facility,
        "ADDRESS" | "CITY" | "ZIP" => Label::Place,
        "DATE" => Label::Date,
        "AGE" => Label::Age,
        "EMAIL" | "URL" => Label::Net,
        "PHONE" | "FAX" | "SSN" | "MRN" | "PLAN" | "ACCOUNT" | "LICENSE" | "VEHICLE" | "DEVICE" | "IP"
        | "BIOMETRIC" | "PHOTO" | "OTHER" => Label::Number,
        _ => return None,
    })
}

fn example(document: &Document) -> Example {
    let reading = read(&document.text);
    let right = reading.tokens.iter().map(|token| {
        let over = |start: usize, end: usize| start < token.end && token.start < end;
        let inside = |start: usize, end: usize| start <= token.start && token.end <= end;
        let gold = document.gold.iter().find(|(start, end, _)| over(*start, *end));
        let free = document.either.iter().any(|(start, end)| inside(*start, *end));
        let labels = gold.map_or(0, |(_, _, label)| 1_u8 << *label as u8);
        match (labels, free) {
            (0, false) => 1,
            // The end of a date, a state behind a town: with what stands beside it, or alone.
            (0, true) => u8::MAX,
            (labels, true) => labels | 1,
            (labels, false) => labels,
        }
    });
    Example { right: right.collect(), reading }
}

/// Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Weights while they are learnt, with the sums that make their average.
struct Learner {
    rows: Vec<[f32; LABELS]>,
    sums: Vec<[f32; LABELS]>,
    transitions: [[f32; LABELS]; LABELS],
    transition_sums: [[f32; LABELS]; LABELS],
    kept: Vec<bool>,
    step: f32,
}

impl Learner {
    fn new(kept: Vec<bool>) -> Self {
        let zero = [[0.0; LABELS]; LABELS];
        Self {
            rows: vec![[0.0; LABELS]; kept.len()],
            sums: vec![[0.0; LABELS]; kept.len()],
            transitions: zero,
            transition_sums: zero,
            kept,
            step: 1.0,
        }
    }

    /// One document; how many of its tokens were wrong, margin included.
    fn learn(&mut self, example: &Example, dice: &mut Dice) -> usize {
        let tokens = example.right.len();
        let active: Vec<Vec<usize>> = (0..tokens)
            .map(|n| {
                let mut without = if dice.below(100) < WITHOUT_WORDS { LEXICAL } else { 0 };
                without |= if dice.below(100) < WITHOUT_RULES { RULED } else { 0 };
                let features = example.reading.features.of(n).iter();
                let rows = features.filter(|feature| *feature & without == 0);
                rows.map(|feature| (feature & ROW_MASK) as usize).filter(|row| self.kept[*row]).collect()
            })
            .collect();
        let mut scores: Vec<[f32; LABELS]> = active
            .iter()
            .map(|rows| {
                let mut sum = [0.0; LABELS];
                for row in rows {
                    for (sum, weight) in sum.iter_mut().zip(&self.rows[*row]) {
                        *sum += weight;
                    }
                }
                sum
            })
            .collect();
        // The best of the right paths.
        let mut among = scores.clone();
        for (scores, right) in among.iter_mut().zip(&example.right) {
            for (label, score) in scores.iter_mut().enumerate() {
                if right >> label & 1 == 0 {
                    *score -= 1e6;
                }
            }
        }
        let gold = viterbi(&among, &self.transitions);
        for (scores, right) in scores.iter_mut().zip(&example.right) {
            for (label, score) in scores.iter_mut().enumerate() {
                if right >> label & 1 == 0 {
                    *score += if label == 0 { MARGIN_LEFT } else { MARGIN_TAKEN };
                }
            }
        }
        let best = viterbi(&scores, &self.transitions);
        let mut wrong = 0;
        for n in 0..tokens {
            let (is, should) = (usize::from(best[n]), usize::from(gold[n]));
            if is != should {
                wrong += 1;
                for row in &active[n] {
                    self.rows[*row][should] += 1.0;
                    self.rows[*row][is] -= 1.0;
                    self.sums[*row][should] += self.step;
                    self.sums[*row][is] -= self.step;
                }
            }
            if n > 0 {
                let was = (usize::from(best[n - 1]), is);
                let right = (usize::from(gold[n - 1]), should);
                if was != right {
                    self.transitions[right.0][right.1] += 1.0;
                    self.transitions[was.0][was.1] -= 1.0;
                    self.transition_sums[right.0][right.1] += self.step;
                    self.transition_sums[was.0][was.1] -= self.step;
                }
            }
        }
        self.step += 1.0;
        wrong
    }

    /// The averages, in whole numbers of which the largest rows just fit a byte.
    fn quantised(&self) -> (Vec<[i8; LABELS]>, [[i16; LABELS]; LABELS], f32) {
        let average = |now: f32, sum: f32| now - sum / self.step;
        let mut sizes: Vec<f32> = Vec::new();
        for (now, sums) in self.rows.iter().zip(&self.sums) {
            sizes.extend(
                now.iter().zip(sums).map(|(now, sum)| average(*now, *sum).abs()).filter(|w| *w > 0.0),
            );
        }
        sizes.sort_by(f32::total_cmp);
        // One weight of a thousand is cut off.
        let top = sizes.get(sizes.len() * 999 / 1000).copied().unwrap_or(1.0).max(1.0);
        let scale = WEIGHT_MAX / top;
        let whole = |value: f32| (value * scale).round();
        let mut rows = vec![[0_i8; LABELS]; self.rows.len()];
        for (row, (now, sums)) in rows.iter_mut().zip(self.rows.iter().zip(&self.sums)) {
            for (weight, (now, sum)) in row.iter_mut().zip(now.iter().zip(sums)) {
                *weight = whole(average(*now, *sum)).clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8;
            }
        }
        let mut transitions = [[0_i16; LABELS]; LABELS];
        for (row, (now, sums)) in
            transitions.iter_mut().zip(self.transitions.iter().zip(&self.transition_sums))
        {
            for (weight, (now, sum)) in row.iter_mut().zip(now.iter().zip(sums)) {
                *weight = whole(average(*now, *sum)).clamp(-30_000.0, 30_000.0) as i16;
            }
        }
        (rows, transitions, scale)
    }
}

fn train(documents: &[Document], file: &str) -> Outcome<()> {
    let begun = Instant::now();
    let examples: Vec<Example> = documents.iter().map(example).collect();
    let mut tokens_of = vec![0_u32; ROWS as usize];
    let mut tokens = 0;
    for example in &examples {
        tokens += example.right.len();
        for n in 0..example.right.len() {
            for feature in example.reading.features.of(n) {
                tokens_of[(feature & ROW_MASK) as usize] += 1;
            }
        }
    }
    eprintln!(
        "{} documents, {tokens} tokens, read in {:.1} s",
        examples.len(),
        begun.elapsed().as_secs_f32()
    );
    let mut learner = Learner::new(tokens_of.iter().map(|count| *count >= TOKENS_OF_ROW_MIN).collect());
    let mut dice = Dice(SEED);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    for epoch in 1..=EPOCHS {
        for n in (1..order.len()).rev() {
            order.swap(n, dice.below(n as u64 + 1) as usize);
        }
        let wrong: usize = order.iter().map(|n| learner.learn(&examples[*n], &mut dice)).sum();
        eprintln!("epoch {epoch}: {wrong} tokens within the margin, {:.1} s", begun.elapsed().as_secs_f32());
    }
    let (rows, transitions, scale) = learner.quantised();
    let packed = pack(&transitions, &rows)?;
    let used = rows.iter().filter(|row| row.iter().any(|weight| *weight != 0)).count();
    eprintln!("{used} of {ROWS} rows in use, {scale:.2} units a step, {} bytes", packed.len());
    let hash = digest::digest(&digest::SHA256, &packed);
    println!("{}", hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    std::fs::write(file, packed)?;
    Ok(())
}

fn show(documents: &[Document]) -> Outcome<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for document in documents {
        let places = |bytes: usize| document.text[..bytes].chars().count();
        let found: Vec<Value> = spans(&document.text, &Known::default())
            .iter()
            .map(|s| {
                json!([places(s.range.start), places(s.range.end), s.category.as_str(), s.rule, s.confidence])
            })
            .collect();
        writeln!(out, "{}", json!({ "id": document.id, "spans": found }))?;
    }
    out.flush()?;
    Ok(())
}

fn speed(documents: &[Document]) -> Outcome<()> {
    let size: usize = documents.iter().map(|document| document.text.len()).sum();
    let known = Known::default();
    let begun = Instant::now();
    let count: usize = documents.iter().map(|document| spans(&document.text, &known).len()).sum();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{size} bytes, {count} spans, {:.1} MB/s", size as f64 / 1e6 / seconds);
    Ok(())
}
