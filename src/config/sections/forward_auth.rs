//! `[forward_auth]`.

use crate::config::{
    ForwardAuthConfig,
    reader::{Section, expect},
};

pub fn read(section: Section<'_>) -> Option<ForwardAuthConfig> {
    let listen = section.optional("listen", expect("an address with a port", "127.0.0.1:8082"));
    section.finish();
    Some(ForwardAuthConfig { listen: listen? })
}
