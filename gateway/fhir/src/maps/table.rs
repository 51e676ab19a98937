//! Code tables: from a code of v2 to a code of FHIR.

use std::collections::HashMap;
use std::sync::Arc;

/// One table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The system that the codes on the left belong to, as FHIR names it.
    pub(crate) from: Option<Arc<str>>,
    pub(crate) rows: HashMap<Box<str>, Row>,
}

/// What a code becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) code: Arc<str>,
    pub(crate) system: Option<Arc<str>>,
    pub(crate) display: Option<Arc<str>>,
}

impl Table {
    /// The row of a code; upper and lower case are one where the exact code is not there.
    pub(crate) fn row(&self, code: &str) -> Option<&Row> {
        self.rows.get(code).or_else(|| {
            let upper = code.to_uppercase();
            if upper == code { None } else { self.rows.get(upper.as_str()) }
        })
    }
}
