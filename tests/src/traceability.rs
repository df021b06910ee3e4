//! Which test proves which requirement.
//!
//! A Rust test names ids in the comment above it, a transcript in its `#` lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::script::{Script, ids_in};

/// One line of `requirements.txt`.
#[derive(Debug)]
pub struct Requirement {
    /// Its id.
    pub id: String,
    /// Whether a test is due already.
    pub due: bool,
    /// What it demands.
    pub text: String,
    /// The tests that name it.
    pub tests: Vec<String>,
}

/// Reads the requirements and looks through the workspace for their tests.
///
/// # Errors
///
/// When a file cannot be read, or a test names an id that does not exist.
pub fn trace(workspace: &Path) -> io::Result<Vec<Requirement>> {
    let list = fs::read_to_string(workspace.join("tests/requirements.txt"))?;
    let mut requirements: Vec<Requirement> = list.lines().filter_map(requirement).collect();
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in ["smtp-proto", "smtp-driver", "smtp-blocking", "smtp-tokio", "tests"] {
        for file in rust_files(&workspace.join(folder))? {
            let shown = file.strip_prefix(workspace).unwrap_or(&file).display().to_string();
            for (test, ids) in tests_in(&fs::read_to_string(&file)?) {
                ids.into_iter().for_each(|id| named.entry(id).or_default().push(format!("{shown}: {test}")));
            }
        }
    }
    for script in Script::all(&workspace.join("tests/transcripts")) {
        for id in script.ids {
            named.entry(id).or_default().push(format!("tests/transcripts/{}.smtp", script.name));
        }
    }
    for requirement in &mut requirements {
        requirement.tests = named.remove(&requirement.id).unwrap_or_default();
        requirement.tests.dedup();
    }
    match named.into_iter().next() {
        Some((id, tests)) => Err(io::Error::other(format!("{} names {id}, which is no requirement", tests.join(", ")))),
        None => Ok(requirements),
    }
}

/// The table, as Markdown.
pub fn table(requirements: &[Requirement]) -> String {
    let mut table = String::from("| id | requirement | tests |\n|---|---|---|\n");
    for Requirement { id, due, text, tests } in requirements {
        let tests = match (tests.as_slice(), due) {
            ([], true) => "**none**".to_owned(),
            ([], false) => "later".to_owned(),
            (tests, _) => tests.join("<br>"),
        };
        let _ = writeln!(table, "| {id} | {text} | {tests} |");
    }
    table
}

fn requirement(line: &str) -> Option<Requirement> {
    let mut parts = line.splitn(3, ' ');
    let (id, mark, text) = (parts.next()?, parts.next()?, parts.next()?);
    (!id.starts_with('#')).then(|| Requirement {
        id: id.into(),
        due: mark == "due",
        text: text.into(),
        tests: Vec::new(),
    })
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The tests of a source file, each with the ids in the comment above it.
fn tests_in(source: &str) -> Vec<(String, Vec<String>)> {
    let mut tests = Vec::new();
    let (mut ids, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("//") {
            ids.extend(ids_in(comment));
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if !line.starts_with("#[") {
            // Tests of a runner of our own, which have no attribute.
            is_test |= line.contains("-> Result<(), Failed>");
            if let (true, Some(name)) = (is_test, function_name(line)) {
                tests.push((name.to_owned(), std::mem::take(&mut ids)));
            }
            (ids, is_test) = (Vec::new(), false);
        }
    }
    tests
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split('(').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_with_their_ids() {
        let source = "// A note, not of C-99.\nuse x;\n\n/// Proves C-01\n// and R-02.\n#[test]\nfn one() {\n    // C-03 inside\n}\n// C-04\nfn helper() {}\n#[test]\nfn two() {}\n// C-05\nfn three() -> Result<(), Failed> {\n";
        let tests = tests_in(source);
        let expected: [(String, Vec<String>); 3] = [
            ("one".into(), vec!["C-01".into(), "R-02".into()]),
            ("two".into(), vec![]),
            ("three".into(), vec!["C-05".into()]),
        ];
        assert_eq!(tests, expected);
    }
}
