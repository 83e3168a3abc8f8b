//! Single values: a host, a target, a credential, a token's text, a configuration file.

use std::{cell::OnceCell, fs, path::PathBuf};

use bento_gateway::{
    config::{self, Sources},
    domain::{
        host::Authority,
        token_search::TokenSearch,
        token_text::{PresentedToken, TOKEN_LEN},
    },
    proxy::{
        credential::{self, PROTOCOL, PROTOCOL_PREFIX, Presented},
        target::Target,
    },
};
use http::{
    HeaderMap, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};

use super::world::WORLD;

pub fn authority(data: &[u8]) {
    let Ok(authority) = Authority::parse(data) else { return };
    let text = authority.to_string();
    assert_eq!(Authority::parse(text.as_bytes()), Ok(authority.clone()), "the canonical form is canonical");
    assert!(!authority.host.is_empty() && !authority.host.ends_with('.'));
    assert!(authority.host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{text}");
    assert!(!authority.host.contains(['/', '@', '?', '#', '\\', '%', ',']), "{text}");
    // The library's reading.
    let written = std::str::from_utf8(data).unwrap();
    let uri: Uri = format!("http://{written}/").parse().expect("the library finds no host");
    let host = uri.host().unwrap().to_ascii_lowercase();
    if !host.starts_with('[') {
        assert_eq!(host.strip_suffix('.').unwrap_or(&host), authority.host);
    }
    assert_eq!(uri.port_u16(), authority.port);
}

pub fn target(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    let Ok(request) = Request::builder().uri(uri).header("host", "a.test").body(()) else { return };
    let (head, ()) = request.into_parts();
    let Ok(target) = Target::parse(&head, 8192) else { return };
    assert_eq!((target.path, target.query), (head.uri.path(), head.uri.query()), "as it came");
    assert!(target.path.starts_with('/') && target.path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(target.query.is_none_or(|query| query.bytes().all(|byte| byte.is_ascii_graphic())));
    // Decoded before it is taken apart, and after.
    let dots = |segment: &str| matches!(segment.split(';').next().unwrap(), "." | "..");
    let decoded = decoded(target.path);
    assert!(!decoded.split(['/', '\\']).any(dots) && !target.path.split(['/', '\\']).any(dots), "{}", target.path);
    assert!(!decoded.contains('\0'));
}

fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..2).expect("whole encodings"), 16).expect("hexadecimal");
        out.push(char::from(code));
        out.push_str(&part[2..]);
    }
    out
}

/// Lines are fields: `Authorization`, or a WebSocket's protocols after a `p`.
pub fn credential(data: &[u8]) {
    let data = WORLD.with_tokens(data);
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        let (name, value) = match line.strip_prefix(b"p") {
            Some(value) => (SEC_WEBSOCKET_PROTOCOL, value),
            None => (AUTHORIZATION, line),
        };
        if let Ok(value) = HeaderValue::from_bytes(value.trim_ascii()) {
            headers.append(name, value);
        }
    }
    let authorizations = headers.get_all(AUTHORIZATION).iter().count();
    for websocket in [false, true] {
        match credential::presented(&headers, websocket) {
            Presented::Nothing => assert_eq!(authorizations, 0, "a credential that nobody sees"),
            Presented::Token(token) => {
                let text = token.to_text();
                assert!(authorizations <= usize::from(!text.expose().is_empty()), "one of several");
                if authorizations == 1 {
                    let field = headers[AUTHORIZATION].to_str().unwrap();
                    let words: Vec<&str> = field.split(' ').filter(|word| !word.is_empty()).collect();
                    assert!(words.len() == 2 && words[0].eq_ignore_ascii_case("bearer") && words[1] == text.expose());
                }
            }
            Presented::Bad(_) => {}
            Presented::Session { .. } => panic!("there is no cookie"),
        }
    }
    if let Some(left) = credential::protocols_for_upstream(&headers) {
        let ours = |protocol: &str| protocol == PROTOCOL || protocol.starts_with(PROTOCOL_PREFIX);
        assert!(!left.to_str().unwrap().split(',').map(str::trim).any(ours));
    }
}

pub fn token_text(data: &[u8]) {
    let data = WORLD.with_tokens(data);
    let found = TokenSearch::default().read(&data);
    let by_piece: Vec<_> = {
        let mut search = TokenSearch::default();
        data.chunks(3).flat_map(|piece| search.read(piece)).collect()
    };
    assert_eq!(found, by_piece, "pieces decide");
    for at in 0..data.len().saturating_sub(TOKEN_LEN - 1) {
        let text = &data[at..at + TOKEN_LEN];
        let Ok(token) = PresentedToken::parse(text) else { continue };
        assert_eq!(token.to_text().expose().as_bytes(), text);
        assert!(found.iter().any(|location| location.offset == at as u64), "a scan does not find it");
        // A slip of one character is noticed.
        let mut other = text.to_vec();
        let place = usize::from(data[0]) % TOKEN_LEN;
        other[place] = if other[place] == b'x' { b'y' } else { b'x' };
        assert!(PresentedToken::parse(&other).is_err());
    }
}

thread_local! {
    static FILE: OnceCell<(tempfile::TempDir, PathBuf)> = const { OnceCell::new() };
}

/// The text of a configuration file.
pub fn config(data: &[u8]) {
    let file = FILE.with(|file| {
        let new = || {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("gateway.toml");
            (directory, file)
        };
        file.get_or_init(new).1.clone()
    });
    fs::write(&file, data).unwrap();
    match config::load_with_sources(&Sources { file: Some(file), ..Sources::default() }) {
        Ok(loaded) => {
            assert!(!loaded.to_toml().contains('\u{1b}'), "an escape for the terminal");
            let (again, kept) = loaded.config.take_over(loaded.config.clone());
            assert!(again == loaded.config && kept.is_empty(), "the same configuration changes something");
        }
        Err(problems) => {
            let text = problems.to_string();
            let hidden = |letter: char| letter.is_control() && letter != '\n';
            assert!(!text.is_empty() && !text.contains(hidden), "{text:?}");
        }
    }
}
