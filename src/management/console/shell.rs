//! The frame of a page for a visitor who has signed in: who they are, and the menu.

use std::ops::Deref;

use super::visitor::{Admin, SignedIn, Visitor};

pub struct Shell {
    pub user: String,
    pub email: String,
    pub admin: bool,
    pub csrf: String,
    /// The entry of the menu that the page belongs to.
    pub here: &'static str,
    pub organization: String,
}

/// The frame of a page for admins: a template with this one cannot be rendered for a member.
pub struct AdminShell(Shell);

impl Shell {
    pub fn new(visitor: &SignedIn, here: &'static str) -> Self {
        Self {
            user: visitor.user.name.clone(),
            email: visitor.user.email.to_string(),
            admin: visitor.is_admin(),
            csrf: visitor.csrf().to_hex().to_string(),
            here,
            organization: visitor.config.organization.clone(),
        }
    }
}

impl AdminShell {
    pub fn new(admin: &Admin, here: &'static str) -> Self {
        Self(Shell::new(admin, here))
    }
}

impl Deref for AdminShell {
    type Target = Shell;

    fn deref(&self) -> &Shell {
        &self.0
    }
}
