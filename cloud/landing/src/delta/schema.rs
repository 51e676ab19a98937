//! What a table's columns are, said once: for the table's own metadata, for the rows in memory and for
//! `docs/tables.md`.

use std::sync::Arc;

use deltalake_core::arrow::datatypes::{
    DataType as ArrowType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use deltalake_core::kernel::{DataType, PrimitiveType, StructField};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Long,
    Int,
    Double,
    /// A point in time, UTC, microseconds.
    Timestamp,
    Date,
    Binary,
}

impl Kind {
    /// The name in Delta's and Spark's SQL.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Long => "long",
            Self::Int => "integer",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Binary => "binary",
        }
    }

    const fn primitive(self) -> PrimitiveType {
        match self {
            Self::String => PrimitiveType::String,
            Self::Long => PrimitiveType::Long,
            Self::Int => PrimitiveType::Integer,
            Self::Double => PrimitiveType::Double,
            Self::Timestamp => PrimitiveType::Timestamp,
            Self::Date => PrimitiveType::Date,
            Self::Binary => PrimitiveType::Binary,
        }
    }

    fn arrow(self) -> ArrowType {
        match self {
            Self::String => ArrowType::Utf8,
            Self::Long => ArrowType::Int64,
            Self::Int => ArrowType::Int32,
            Self::Double => ArrowType::Float64,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => ArrowType::Date32,
            Self::Binary => ArrowType::Binary,
        }
    }
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    /// One sentence; becomes the column's comment in the table.
    pub(crate) doc: &'static str,
}

/// How rows are cut into folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partition {
    /// `ingest_date`: the day of the commit, UTC.
    Day,
    /// `seq_bucket`: sequence number divided by [`crate::rows::SEQ_BUCKET`]: says no date.
    Bucket,
    /// Not at all.
    None,
}

impl Partition {
    /// The column, which stands in paths and not in files.
    pub(crate) const fn column(self) -> Option<Column> {
        match self {
            Self::Day => Some(Column {
                name: "ingest_date",
                kind: Kind::Date,
                nullable: false,
                doc: "Day of the commit, UTC (partition).",
            }),
            Self::Bucket => Some(Column {
                name: "seq_bucket",
                kind: Kind::Long,
                nullable: false,
                doc: "seq divided by 1,000,000 (partition).",
            }),
            Self::None => None,
        }
    }
}

/// A table's columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    /// The table's name, and its folder under the root.
    pub(crate) table: &'static str,
    /// One sentence.
    pub(crate) doc: &'static str,
    /// The columns in files, in order.
    pub(crate) columns: &'static [Column],
    /// Columns whose minimum and maximum may stand in the log: numbers that say nothing of a patient.
    pub(crate) indexed: &'static [&'static str],
    pub(crate) partition: Partition,
}

impl Schema {
    /// The columns of a file.
    pub(crate) fn arrow(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.columns.iter().map(|c| Field::new(c.name, c.kind.arrow(), c.nullable)).collect();
        Arc::new(ArrowSchema::new(fields))
    }

    /// The columns of the table: those of the files, then the partition.
    pub(crate) fn all(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().copied().chain(self.partition.column())
    }

    /// For the table's metadata.
    pub(crate) fn fields(&self) -> Vec<StructField> {
        self.all()
            .map(|c| {
                let kind = DataType::Primitive(c.kind.primitive());
                StructField::new(c.name, kind, c.nullable).with_metadata([("comment", c.doc)])
            })
            .collect()
    }
}
