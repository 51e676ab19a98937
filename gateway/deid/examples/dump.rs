#![allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    clippy::allow_attributes_without_reason
)]
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let policy = deid::Policy::builtin(&a[1]).unwrap();
    let key = deid::TokenKey::new([7; 32], 1);
    let input = std::fs::read(&a[2]).unwrap();
    let n: usize = a.get(3).and_then(|x| x.parse().ok()).unwrap_or(1);
    for (i, m) in hl7::split(&input).enumerate().take(n) {
        println!("--- {i} IN\n{}", String::from_utf8_lossy(m).replace('\r', "\n"));
    }
    for (i, r) in
        deid::hl7_filter(&policy, &input, "2026-11-24T08:30:00Z".parse().unwrap(), Some(&key)).take(n)
    {
        match r {
            Ok(b) => println!("--- {i} OUT\n{}", String::from_utf8_lossy(&b).replace('\r', "\n")),
            Err(e) => println!("--- {i} HELD {e}"),
        }
    }
}
