//! Columns, filled row by row.

use std::sync::Arc;

use deltalake_core::arrow::array::{
    ArrayRef, BinaryBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use model::{Seq, TimeValue};

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

/// A column while it is filled.
pub(super) trait Filled {
    /// An empty one.
    fn begin() -> Self;

    /// The column, in full.
    fn done(&mut self) -> ArrayRef;
}

macro_rules! filled {
    ($($builder:ident),* $(,)?) => {
        $(impl Filled for $builder {
            fn begin() -> Self {
                Self::new()
            }

            fn done(&mut self) -> ArrayRef {
                Arc::new(self.finish())
            }
        })*
    };
}

filled!(BinaryBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder);

impl Filled for TimestampMicrosecondBuilder {
    fn begin() -> Self {
        Self::new().with_timezone("UTC")
    }

    fn done(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

/// What fills a column of a [`Kind`](crate::delta::Kind).
macro_rules! builder {
    (Binary) => {
        deltalake_core::arrow::array::BinaryBuilder
    };
    (Double) => {
        deltalake_core::arrow::array::Float64Builder
    };
    (Int) => {
        deltalake_core::arrow::array::Int32Builder
    };
    (Long) => {
        deltalake_core::arrow::array::Int64Builder
    };
    (String) => {
        deltalake_core::arrow::array::StringBuilder
    };
    (Timestamp) => {
        deltalake_core::arrow::array::TimestampMicrosecondBuilder
    };
}

/// Whether a column may be null: `?` it may, `!` it may not.
macro_rules! nullable {
    (?) => {
        true
    };
    (!) => {
        false
    };
}

/// A table: each column once, in the order of the files, with its kind, whether it may be null, and what the catalogue
/// says of it. Makes `COLUMNS` of it, and `Rows` with a field for each column to be filled.
macro_rules! columns {
    ($($name:ident: $kind:ident $null:tt $doc:literal,)*) => {
        const COLUMNS: &[$crate::delta::Column] = &[$(
            $crate::delta::Column {
                name: stringify!($name),
                kind: $crate::delta::Kind::$kind,
                nullable: $crate::rows::build::nullable!($null),
                doc: $doc,
            },
        )*];

        /// Rows being gathered.
        pub(super) struct Rows {
            schema: &'static $crate::delta::Schema,
            $($name: $crate::rows::build::builder!($kind),)*
        }

        impl Rows {
            pub(super) fn new(schema: &'static $crate::delta::Schema) -> Self {
                Self { schema, $($name: $crate::rows::build::Filled::begin(),)* }
            }

            /// What was gathered, in the order of the columns.
            pub(super) fn finish(
                mut self,
            ) -> Result<deltalake_core::arrow::array::RecordBatch, $crate::delta::Error> {
                let columns = vec![$($crate::rows::build::Filled::done(&mut self.$name),)*];
                Ok(deltalake_core::arrow::array::RecordBatch::try_new(self.schema.arrow(), columns)?)
            }
        }
    };
}

/// Fills the columns that every row of a record has: its name, where it comes from and goes to.
macro_rules! place {
    ($rows:ident, $manifest:ident, $record:ident) => {
        let id = model::RecordId { lane: $manifest.lane, epoch: $manifest.epoch, seq: $record.seq };
        $rows.record_id.append_value(id.to_string());
        $rows.gateway.append_value($manifest.gateway.as_str());
        $rows.destination.append_value($manifest.destination.as_str());
        $rows.feed.append_value($record.feed.as_str());
        $rows.lane.append_value($manifest.lane.as_str());
        $rows.epoch.append_value($crate::rows::build::long($manifest.epoch.get()));
        $rows.seq.append_value($crate::rows::build::long($record.seq));
        $rows.origin.append_option($record.origin.map(|origin| origin.to_string()));
    };
}

pub(super) use {builder, columns, nullable, place};
