//! Columns, and that the book says the same of them.

use std::fmt::Write as _;
use std::path::Path;

use model::Value;

use super::*;
use crate::delta::Column;
use crate::testing::{NOW, batch, observation, stream};

const BEGIN: &str = "<!-- columns: made by `cargo test -p wardgate-landing`, with UPDATE_DOCS=1 -->\n";
const END: &str = "<!-- end of columns -->\n";

fn described() -> String {
    let mut text = String::new();
    let schemas = [raw_schema("treatment")]
        .into_iter()
        .chain(Silver::ALL.map(|silver| silver_schema(silver, "treatment")));
    for schema in schemas {
        write!(text, "\n### `{}`\n\n{}\n\n| column | type | |\n|---|---|---|\n", schema.table, schema.doc)
            .unwrap();
        for Column { name, kind, nullable, doc } in schema.all() {
            let null = if nullable { ", nullable" } else { "" };
            writeln!(text, "| `{name}` | {}{null} | {} |", kind.as_str(), doc.replace('|', "\\|")).unwrap();
        }
    }
    text + "\n"
}

/// `docs/tables.md` is what queries rely on.
#[test]
fn the_book_describes_the_columns_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tables.md");
    let book = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = book.split_once(BEGIN).unwrap();
    let (columns, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{}{END}{tail}", described())).unwrap();
        return;
    }
    assert_eq!(columns, described(), "run it once with UPDATE_DOCS=1");
}

fn landed(first: Seq, last: Seq, label: &str) -> LandedBatch {
    let batch = batch(&stream("g", 1), first, last, label);
    let incoming = crate::lake::Incoming::new(batch, "ab".repeat(32), 2, 1, None);
    LandedBatch {
        manifest: incoming.manifest.clone(),
        records: incoming.records.clone(),
        committed_at: NOW,
        raw_version: 4,
    }
}

#[test]
fn rows_of_raw_become_the_records_they_were() {
    let batch = landed(1, 40, "treatment");
    let parts =
        raw_parts([(&batch.manifest, batch.records.as_slice())].into_iter(), "treatment", NOW).unwrap();
    let [part] = parts.as_slice() else { panic!() };
    assert_eq!(part.partition.as_deref(), Some("2026-11-24"));
    let back = unpack(std::slice::from_ref(&part.rows), vec![batch.manifest.clone()], NOW, 4).unwrap();
    let [back] = back.as_slice() else { panic!() };
    assert_eq!(back.records, batch.records);

    let mut short = batch.manifest.clone();
    short.rows += 1;
    assert!(unpack(std::slice::from_ref(&part.rows), vec![short], NOW, 4).is_err());
}

#[test]
fn buckets_cut_where_a_million_ends() {
    let batch = landed(SEQ_BUCKET - 2, SEQ_BUCKET + 2, "safe-harbor");
    let parts =
        raw_parts([(&batch.manifest, batch.records.as_slice())].into_iter(), "safe-harbor", NOW).unwrap();
    let sizes: Vec<_> = parts.iter().map(|p| (p.partition.clone().unwrap(), p.rows.num_rows())).collect();
    let (before, after): (Vec<_>, Vec<_>) = batch.records.iter().partition(|r| r.seq < SEQ_BUCKET);
    assert_eq!(sizes, [("0".to_owned(), before.len()), ("1".to_owned(), after.len())]);
}

#[test]
fn what_is_no_number_is_null_with_a_reason() {
    use deltalake_core::arrow::array::{Array as _, AsArray as _};
    use deltalake_core::arrow::datatypes::Float64Type;
    let mut batch = landed(3, 3, "treatment");
    let mut record = batch.records.first().unwrap().clone();
    record.observations = [f64::NAN, f64::INFINITY, 98.0].map(|n| observation(Value::Number(n))).to_vec();
    record.observations.push(observation(Value::Absent(model::Absent::SensorOff)));
    batch.records = std::sync::Arc::new(vec![record]);
    let parts = silver_parts(Silver::Observations, &[batch], "treatment").unwrap();
    let [part] = parts.as_slice() else { panic!() };
    let values = part.rows.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    let reasons = part.rows.column_by_name("absent_reason").unwrap().as_string::<i32>();
    let rows: Vec<_> = (0..4)
        .map(|n| (values.is_valid(n).then(|| values.value(n)), reasons.is_valid(n).then(|| reasons.value(n))))
        .collect();
    assert_eq!(
        rows,
        [(None, Some("invalid")), (None, Some("invalid")), (Some(98.0), None), (None, Some("sensor-off"))]
    );
}

#[test]
fn skips_are_counted_by_reason() {
    let mut manifest = landed(1, 14, "treatment").manifest;
    manifest.skipped = vec![(1, 3, Reason::Held), (5, 5, Reason::NotRouted), (7, 8, Reason::Held)];
    assert_eq!(manifest.skipped_count(), 6);
    let reasons = serde_json::to_string(&manifest.skipped_by_reason()).unwrap();
    assert_eq!(reasons, "{\"held\":5,\"not-routed\":1}");
}
