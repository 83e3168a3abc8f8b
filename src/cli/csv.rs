//! Rows as CSV (RFC 4180), for spreadsheets and their kind.

/// A line of CSV. A cell that a spreadsheet would take for a formula gets an apostrophe in front: names are chosen by others.
pub fn line<'c>(cells: impl IntoIterator<Item = &'c str>) -> String {
    let mut line = String::new();
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        push(cell, &mut line);
    }
    line.push_str("\r\n");
    line
}

fn push(cell: &str, line: &mut String) {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if cell.contains([',', '"', '\r', '\n']) {
        line.push('"');
        line.push_str(guard);
        line.push_str(&cell.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(guard);
        line.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        assert_eq!(line(["a", "", "1.5"]), "a,,1.5\r\n");
        assert_eq!(line(["a,b", "say \"x\"", "two\nlines"]), "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n");
        assert_eq!(line(["=1+1", "@x", "-2", "=a,b"]), "'=1+1,'@x,'-2,\"'=a,b\"\r\n");
    }
}
