//! Exit codes: part of the interface, so they never change their meaning.

use crate::service::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    Success = 0,
    /// Any failure that has no code of its own.
    Failure = 1,
    /// The command line cannot be read. clap uses the same.
    Usage = 2,
    /// Something that an argument names does not exist.
    NotFound = 3,
    /// An invalid value, or a conflict with what exists.
    Refused = 4,
    /// The store cannot be reached or used.
    Unreachable = 5,
    /// `token scan` has found tokens.
    Found = 6,
    /// Something was changed, and a running gateway may still decide without the change.
    Unconfirmed = 7,
    /// `audit verify` has found that the audit trail was changed.
    Tampered = 8,
    /// The configuration has problems: `EX_CONFIG` of sysexits.h.
    Configuration = 78,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

impl From<Kind> for ExitStatus {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Invalid | Kind::Conflict | Kind::Ended | Kind::Forbidden => Self::Refused,
            Kind::NotFound => Self::NotFound,
            Kind::Unavailable | Kind::Uncertain | Kind::TooMany => Self::Unreachable,
            Kind::Internal => Self::Failure,
        }
    }
}
