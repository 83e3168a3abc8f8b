//! What a request's path may mean to servers that do not read it as we do. It is as it came, without dot segments.

use super::percent;

/// Whether it says something else to whoever decodes twice, cuts at an encoded `?` or stops at a control character.
pub fn is_doubtful(path: &str) -> bool {
    let doubtful = |byte: u8| byte.is_ascii_control() || matches!(byte, b'%' | b'?' | b'#');
    path.contains('%') && percent::decoded(path.as_bytes()).any(|(_, byte)| doubtful(byte))
}

/// Whether it may lead out of where it begins: because it is doubtful, or because a server that leaves dots and blanks at the
/// ends of names out, or that reads bytes as letters which are none in UTF-8, finds a dot segment in it.
pub fn may_climb(path: &str) -> bool {
    if !path.contains(['%', '.', '\\', '?', '#']) {
        return false;
    }
    let decoded = percent::decode(path.as_bytes());
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        name.contains(&b'.') && name.iter().all(|byte| matches!(byte, b'.' | b' '))
    };
    is_doubtful(path)
        || path.contains(['?', '#'])
        || decoded.contains(&b'\\')
        || std::str::from_utf8(&decoded).is_err()
        || decoded.split(|&byte| byte == b'/').any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_nowhere_else() {
        for path in [
            "",
            "/",
            "/x",
            "//x/",
            "/meta-llama%2FLlama-3.1-8B",
            "/a.b/.c/d../...e",
            "/a%20b",
            "/%c3%a4",
            "/x;a=b",
            "/;x",
            "/%20",
        ] {
            assert!(!may_climb(path), "{path}");
        }
    }

    #[test]
    fn paths_that_may_lead_elsewhere() {
        for path in [
            "/%252e%252e/x",
            "/x%3f",
            "/x%23y",
            "/x%0a",
            "/x%00",
            "/%09",
            "/%7f",
            "/...",
            "/..%20/x",
            "/%20../x",
            "/%2e%20%2e",
            "/a%2f...",
            "/...;x/y",
            "/%c0%ae%c0%ae/x",
            "/a%c0%afb",
            "/%ff",
            "/..",
            "/%2e%2E;x/y",
            "/a%5c..%5cb",
            "/a\\b",
            "/..?",
            "/x#/..",
        ] {
            assert!(may_climb(path), "{path}");
        }
    }
}
