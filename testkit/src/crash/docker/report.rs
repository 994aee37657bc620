//! What was looked at, and how it was.

/// The rows of the table.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Row>);

#[derive(Debug)]
struct Row {
    what: String,
    found: String,
    is_well: bool,
}

impl Report {
    /// Notes what was found, and whether that is as it should be.
    pub(super) fn row(&mut self, what: &str, found: &str, is_well: bool) {
        self.0.push(Row { what: what.to_owned(), found: found.to_owned(), is_well });
    }

    /// As a table in Markdown.
    pub(super) fn table(&self) -> String {
        let width = |cell: fn(&Row) -> &str| self.0.iter().map(|row| cell(row).len()).max().unwrap_or(0);
        let (what, found) = (width(|row| &row.what), width(|row| &row.found));
        let mut table = format!("| {:what$} | {:found$} | ok? |\n", "in the container", "found");
        table.push_str(&format!("| {:-<what$} | {:-<found$} | --- |\n", "", ""));
        for row in &self.0 {
            let ok = if row.is_well { "yes" } else { "NO" };
            table.push_str(&format!("| {:what$} | {:found$} | {ok:3} |\n", row.what, row.found));
        }
        table
    }

    /// What is not as it should be.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.0.iter().filter(|row| !row.is_well).map(|row| format!("{}: {}", row.what, row.found)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_out() {
        let mut report = Report::default();
        report.row("user", "65532:65532", true);
        report.row("root file system", "rw", false);
        let table = report.table();
        assert!(table.ends_with("| root file system | rw          | NO  |\n"), "{table}");
        assert_eq!(report.wrong(), ["root file system: rw"]);
    }
}
