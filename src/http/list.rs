//! Lists in a field, such as cookies, of which hardly any element matters.

use memchr::{memchr, memmem, memrchr};

/// The elements of a list in which `needle` stands, blanks around them included. Others are not looked at: a caller may send a
/// list of very many.
pub fn elements_with<'l>(list: &'l str, separator: u8, needle: &'static str) -> impl Iterator<Item = &'l str> {
    let finder = memmem::Finder::new(needle);
    let mut rest = list;
    std::iter::from_fn(move || {
        let found = finder.find(rest.as_bytes())?;
        let (before, behind) = rest.as_bytes().split_at(found);
        let start = memrchr(separator, before).map_or(0, |at| at + 1);
        let end = memchr(separator, behind).map_or(rest.len(), |at| found + at);
        let element = &rest[start..end];
        rest = &rest[end..];
        Some(element)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_element_is_missed_and_none_comes_twice() {
        for list in ["", ",", "ab", " ab ,x", "x, ab", "x,ab,abab,,y ab", "ab,ab,ab", "a,b"] {
            let expected: Vec<&str> = list.split(',').filter(|element| element.contains("ab")).collect();
            assert_eq!(elements_with(list, b',', "ab").collect::<Vec<_>>(), expected, "{list}");
        }
    }

    proptest! {
        #[test]
        fn of_any_list(list in "[ab,; é]{0,40}") {
            let expected: Vec<&str> = list.split(',').filter(|element| element.contains("ab")).collect();
            prop_assert_eq!(elements_with(&list, b',', "ab").collect::<Vec<_>>(), expected);
        }
    }
}
