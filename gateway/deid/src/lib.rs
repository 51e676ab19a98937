//! De-identification: policies, rules, receipts. Pure but for the traits it is given.
