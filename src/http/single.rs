//! Fields that may come once.

use http::{HeaderMap, header::AsHeaderName};

/// A field that may come once. Two of it are never read as one of them: two readers could choose differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Single<'h> {
    Absent,
    Value(&'h str),
    /// It came several times, or is not visible ASCII.
    Doubtful,
}

impl<'h> Single<'h> {
    pub fn read(headers: &'h HeaderMap, name: impl AsHeaderName) -> Self {
        let mut fields = headers.get_all(name).iter();
        match (fields.next(), fields.next()) {
            (None, _) => Self::Absent,
            (Some(field), None) => field.to_str().map_or(Self::Doubtful, Self::Value),
            (Some(_), Some(_)) => Self::Doubtful,
        }
    }

    /// `None`: there is none that counts.
    pub fn value(self) -> Option<&'h str> {
        match self {
            Self::Value(text) => Some(text),
            Self::Absent | Self::Doubtful => None,
        }
    }
}
