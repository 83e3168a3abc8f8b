//! The pairs of a form or a query.

/// What a form or a query says. A field may come several times; where one is asked for, the first counts.
#[derive(Debug, Default)]
pub struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// What cannot be decoded is replaced, and so nothing of ours any more.
    pub fn parse(text: &[u8]) -> Self {
        Self(serde_urlencoded::from_bytes(text).unwrap_or_default())
    }

    /// Without white space around it; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// As it was typed: a password. Empty where it is missing.
    pub fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.trim())
    }

    /// Words and lines of one field.
    pub fn words<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.text(name).split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
    }

    /// Whether a box is ticked.
    pub fn on(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name() {
        let form = FormFields::parse(b"a=+x+&b=1&b=+2&words=one%2C+two%0D%0Athree&%FF=%FF&a=y&empty=");
        assert_eq!((form.text("a"), form.exact("a"), form.text("c")), ("x", " x ", ""));
        assert_eq!(form.all("b").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.words("words").collect::<Vec<_>>(), ["one", "two", "three"]);
        assert!(form.on("b") && !form.on("empty") && !form.on("c"));
    }
}
