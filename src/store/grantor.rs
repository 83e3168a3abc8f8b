//! By whose right something is written. A request can take its time between the moment when its caller was known and its
//! change, and the caller may have lost that right meanwhile: so each change asks once more, when it is alone among all
//! writers.

use super::{
    Store, StoreError,
    statement::{Connection, same, statements},
};
use crate::domain::{
    rights::{Credential, Grantor, Lapse, Person, Rights},
    timestamp::Timestamp,
    token::TokenStatus,
};

statements! {
    SECRET_ENDS = same("SELECT retires_at FROM token_secrets WHERE lookup_id = $1");
}

impl Store {
    /// For what only reads, and has waited for its caller: as a change does it.
    ///
    /// # Errors
    /// [`StoreError::Lapsed`].
    pub async fn expect(&self, by: &Grantor<'_>, now: Timestamp) -> Result<(), StoreError> {
        self.read().await?.expect(by, now).await
    }
}

impl Connection {
    /// Whether `by` may still do at `now` what it could when its request came.
    ///
    /// # Errors
    /// [`StoreError::Lapsed`].
    pub(super) async fn expect(&mut self, by: &Grantor<'_>, now: Timestamp) -> Result<(), StoreError> {
        let known = match by {
            Grantor::Operator | Grantor::Nobody => return Ok(()),
            Grantor::Person(person) => self.knows_person(person, now).await?,
            Grantor::Token(credential) => self.knows_token(credential, now).await?,
        };
        known.map_err(StoreError::Lapsed)
    }

    async fn knows_person(&mut self, person: &Person<'_>, now: Timestamp) -> Result<Result<(), Lapse>, StoreError> {
        let Some(session) = self.session(person.session, now).await? else { return Ok(Err(Lapse::Ended)) };
        Ok(match self.live_user(session.user).await? {
            None => Err(Lapse::Ended),
            Some(user) if user.role != person.role => Err(Lapse::Changed),
            Some(_) => Ok(()),
        })
    }

    async fn knows_token(&mut self, by: &Credential<'_>, now: Timestamp) -> Result<Result<(), Lapse>, StoreError> {
        let secret: Option<(Option<Timestamp>,)> = self.optional(SECRET_ENDS, (by.secret,)).await?;
        let works = secret.is_some_and(|(retires_at,)| retires_at.is_none_or(|at| at > now));
        let token = self.token(by.token).await?.filter(|token| works && token.status(now) == TokenStatus::Active);
        let Some(token) = token else { return Ok(Err(Lapse::Ended)) };
        let Some(user) = self.live_user(token.owner).await? else { return Ok(Err(Lapse::Ended)) };
        let rights = Rights { role: user.role, scopes: &token.scopes, expires_at: token.expires_at };
        Ok(if rights == by.rights { Ok(()) } else { Err(Lapse::Changed) })
    }
}
