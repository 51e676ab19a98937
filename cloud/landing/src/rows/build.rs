//! Columns, filled row by row.

use std::sync::Arc;

use deltalake_core::arrow::array::{
    ArrayRef, BinaryBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use model::{Seq, TimeValue};

use crate::delta::{Error, Schema};

/// A column of timestamps in UTC.
pub(super) fn timestamps() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_timezone("UTC")
}

/// A number as Delta's `long`. The wire admits none that does not fit.
pub(super) fn long(number: Seq) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The instant and the year of a time, as far as the policy let it through.
pub(super) fn time(
    value: Option<TimeValue>,
    instant: &mut TimestampMicrosecondBuilder,
    year: &mut Int32Builder,
) {
    match value {
        Some(TimeValue::Instant(at)) => {
            instant.append_value(at.micros());
            year.append_value(at.year().into());
        }
        Some(TimeValue::Year(at)) => {
            instant.append_null();
            year.append_value(at.into());
        }
        None => {
            instant.append_null();
            year.append_null();
        }
    }
}

/// Puts columns together, in the order of the schema.
pub(super) fn batch(schema: &Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
    Ok(RecordBatch::try_new(schema.arrow(), columns)?)
}

macro_rules! finish {
    ($($builder:ident),* $(,)?) => {
        $(impl Finish for $builder {
            fn done(&mut self) -> ArrayRef {
                Arc::new(self.finish())
            }
        })*
    };
}

/// Any builder's end.
pub(super) trait Finish {
    /// The column.
    fn done(&mut self) -> ArrayRef;
}

finish!(
    BinaryBuilder,
    Float64Builder,
    Int32Builder,
    Int64Builder,
    StringBuilder,
    TimestampMicrosecondBuilder
);
