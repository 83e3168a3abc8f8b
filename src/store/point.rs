//! A moment of a store's history.

/// After a fail-over that lost commits or a restore, a number is passed again with other contents; its mark, which is
/// random, differs then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub seq: i64,
    /// `None`: the store has none for this sequence. Then the number alone tells.
    pub mark: Option<String>,
}
