//! The cookie of a session at the console: its code, and when it ends, which the code's tag covers. So one that is over is
//! refused in memory, like one that was invented. One that was ended before costs its network's share of the store.

use crate::{
    domain::{
        code::{CodeKey, OneTimeCode, Purpose},
        timestamp::Timestamp,
    },
    service::sessions::NewSession,
};

pub fn write(NewSession { code, until }: &NewSession) -> String {
    format!("{}.{}", code.expose(), until.as_millis())
}

/// `None`: nobody who has the key has made it, or it is over at `now`.
pub fn read(codes: &CodeKey, text: &str, now: Timestamp) -> Option<OneTimeCode> {
    // Those from before there was a key say no end, and have no tag.
    let (code, until) = match text.split_once('.') {
        Some((code, until)) => (code, Timestamp::from_millis(until.parse().ok()?)),
        None => (text, Timestamp::MAX),
    };
    codes.open(Purpose::ConsoleSession { until }, code).filter(|_| until > now)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::code::CODE_BYTES;

    #[test]
    fn only_ours_and_only_in_time() {
        let codes = CodeKey::from_stored(&[7; 32], HashSet::new()).unwrap();
        let (until, before) = (Timestamp::from_millis(1_000), Timestamp::from_millis(999));
        let code = codes.seal(Purpose::ConsoleSession { until }, [0xa7; CODE_BYTES]);
        let hash = code.hash();
        let text = write(&NewSession { code, until });
        assert_eq!(read(&codes, &text, before).unwrap().hash(), hash);
        assert!(read(&codes, &text, until).is_none(), "it is over");
        let (bare, _) = text.split_once('.').unwrap();
        for other in [bare, "", ".", &format!("{bare}.1001"), &format!("{bare}."), &format!("{text}.1001"), &text[1..]]
        {
            assert!(read(&codes, other, before).is_none(), "{other}");
        }
    }
}
