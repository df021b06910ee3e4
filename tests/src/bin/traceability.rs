//! Prints every requirement with the tests that prove it. Fails when one that is due has none.

use std::path::Path;
use std::process::ExitCode;

use smtp_conformance::traceability::{Requirement, table, trace};

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let requirements = match trace(workspace) {
        Ok(requirements) => requirements,
        Err(error) => {
            eprintln!("traceability: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", table(&requirements));
    let missing: Vec<&str> = requirements
        .iter()
        .filter(|one| one.due && one.tests.is_empty())
        .map(|one: &Requirement| one.id.as_str())
        .collect();
    let due = requirements.iter().filter(|one| one.due).count();
    println!("\n{} of {due} due requirements have a test", due - missing.len());
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("without a test: {}", missing.join(", "));
    ExitCode::FAILURE
}
