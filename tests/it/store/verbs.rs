//! One-step changes of a store, as the contract tests ask for them: begin, one write, commit.

use bento_gateway::{
    domain::{
        audit::AuditEvent,
        code::CodeHash,
        deployment::{DeploymentName, DeploymentSpec},
        device_login::LoginDecision,
        rights::Grantor,
        session::{ConsoleSession, Identity, Invitation},
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        token_text::LookupId,
        user::{Role, User, UserId},
    },
    store::{Change, Store, StoreError, TouchedToken},
};

type Done<T = ()> = Result<T, StoreError>;

/// What [`Verbs::bootstrap`] creates.
pub struct Bootstrap {
    pub organization: String,
    pub admin: User,
    pub token: Option<(TokenRecord, SecretRecord)>,
    pub invitation: Invitation,
    pub event: AuditEvent,
}

pub trait Verbs {
    /// The sequence of the last committed change; 0 for an empty store.
    async fn change_seq(&self) -> Done<i64>;
    async fn bootstrap(&self, first: &Bootstrap) -> Done<bool>;
    async fn insert_token(&self, token: &TokenRecord, secret: &SecretRecord, event: &AuditEvent) -> Done;
    async fn revoke_token(&self, uid: TokenUid, at: Timestamp, event: &AuditEvent) -> Done<Option<TokenRecord>>;
    async fn rotate_token(
        &self,
        uid: TokenUid,
        secret: &SecretRecord,
        old_until: Timestamp,
        event: &AuditEvent,
    ) -> Done<Option<TokenRecord>>;
    async fn update_token(&self, token: &TokenRecord, event: &AuditEvent) -> Done<bool>;
    async fn token_by_name(&self, owner: UserId, name: &str) -> Done<Option<TokenRecord>>;
    async fn insert_user(&self, user: &User, event: &AuditEvent) -> Done;
    async fn update_user(&self, user: &User, event: &AuditEvent) -> Done<bool>;
    async fn set_password(&self, id: UserId, hash: &str, keep: Option<&CodeHash>, event: &AuditEvent) -> Done<bool>;
    async fn enable_user(&self, id: UserId, event: &AuditEvent) -> Done<bool>;
    async fn disable_user(&self, id: UserId, at: Timestamp, event: &AuditEvent) -> Done<bool>;
    async fn insert_deployment(&self, spec: &DeploymentSpec, at: Timestamp, event: &AuditEvent) -> Done;
    async fn update_deployment(&self, spec: &DeploymentSpec, event: &AuditEvent) -> Done<bool>;
    async fn remove_deployment(
        &self,
        name: &DeploymentName,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Done<Option<Vec<TouchedToken>>>;
    async fn knows_deployment(&self, name: &DeploymentName) -> Done<bool>;
    async fn decide_login(&self, code: &CodeHash, decision: &LoginDecision, event: &AuditEvent) -> Done<bool>;
    async fn claim_login(
        &self,
        code: &CodeHash,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Done<bool>;
    async fn insert_session(&self, session: &ConsoleSession, event: &AuditEvent) -> Done;
    async fn end_session(&self, id: &CodeHash, event: &AuditEvent) -> Done<bool>;
    async fn end_sessions(&self, user: UserId, keep: Option<&CodeHash>, event: &AuditEvent) -> Done;
    async fn insert_invitation(&self, invitation: &Invitation, event: &AuditEvent) -> Done;
    async fn accept_invitation(&self, code: &CodeHash, user: &User, event: &AuditEvent) -> Done<bool>;
    async fn link_identity(&self, identity: &Identity, user: &User, new: bool, event: &AuditEvent) -> Done;
    async fn insert_browser_session(
        &self,
        token: TokenUid,
        secret: &SecretRecord,
        forget: Timestamp,
        event: &AuditEvent,
    ) -> Done<bool>;
    async fn end_browser_session(&self, id: LookupId, event: &AuditEvent) -> Done<bool>;
}

/// Commits if something was changed.
async fn commit_if(changed: bool, change: Change, event: &AuditEvent) -> Done<bool> {
    if changed {
        change.commit(event).await?.unsettled();
    }
    Ok(changed)
}

/// By whom nothing is asked.
pub async fn begin(store: &Store) -> Done<Change> {
    store.change(&Grantor::Operator, Timestamp::from_millis(0)).await
}

/// As the service asks before it takes an admin away.
async fn last_admin(change: &mut Change, user: &User) -> Done<bool> {
    let admin = user.role == Role::Admin && user.disabled_at.is_none();
    Ok(admin && change.admins().await?.iter().all(|other| other.id == user.id))
}

impl Verbs for Store {
    async fn change_seq(&self) -> Done<i64> {
        Ok(self.snapshot().await?.head(None).await?.latest.seq)
    }

    async fn bootstrap(&self, first: &Bootstrap) -> Done<bool> {
        let mut change = begin(self).await?;
        let founded = change.found(&first.organization, first.event.at).await?;
        if founded {
            change.insert_user(&first.admin).await?;
            if let Some((token, secret)) = &first.token {
                change.insert_token(token).await?;
                change.insert_secret(token.uid, secret).await?;
            }
            change.insert_invitation(&first.invitation).await?;
        }
        commit_if(founded, change, &first.event).await
    }

    async fn insert_token(&self, token: &TokenRecord, secret: &SecretRecord, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        change.insert_token(token).await?;
        change.insert_secret(token.uid, secret).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn revoke_token(&self, uid: TokenUid, at: Timestamp, event: &AuditEvent) -> Done<Option<TokenRecord>> {
        let mut change = self.urgent_change(event.actor, &Grantor::Operator, at).await?;
        let Some(token) = change.token(uid).await? else { return Ok(None) };
        let live = token.revoked_at.is_none();
        let token = change.revoke_token(token, at).await?;
        commit_if(live, change, event).await?;
        Ok(Some(token))
    }

    async fn rotate_token(
        &self,
        uid: TokenUid,
        secret: &SecretRecord,
        old_until: Timestamp,
        event: &AuditEvent,
    ) -> Done<Option<TokenRecord>> {
        let mut change = begin(self).await?;
        let live = change.token(uid).await?.filter(|token| token.revoked_at.is_none());
        let Some(token) = live else { return Ok(None) };
        change.rotate_token(&token, secret, old_until).await?;
        commit_if(true, change, event).await?;
        Ok(Some(token.into_inner()))
    }

    async fn update_token(&self, token: &TokenRecord, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let live = change.token(token.uid).await?.filter(|token| token.revoked_at.is_none());
        let Some(mut current) = live else { return Ok(false) };
        current.clone_from(token);
        change.update_token(&current).await?;
        commit_if(true, change, event).await
    }

    async fn token_by_name(&self, owner: UserId, name: &str) -> Done<Option<TokenRecord>> {
        Ok(begin(self).await?.token_by_name(owner, name).await?.map(|token| token.into_inner()))
    }

    async fn insert_user(&self, user: &User, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        change.insert_user(user).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn update_user(&self, user: &User, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let Some(mut current) = change.user(user.id).await? else { return Ok(false) };
        if last_admin(&mut change, &current).await? && user.role != Role::Admin {
            return Ok(false);
        }
        current.name.clone_from(&user.name);
        current.role = user.role;
        change.update_user(&current).await?;
        commit_if(true, change, event).await
    }

    async fn set_password(&self, id: UserId, hash: &str, keep: Option<&CodeHash>, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let Some(mut user) = change.user(id).await? else { return Ok(false) };
        user.password_hash = Some(hash.to_owned());
        change.update_user(&user).await?;
        change.end_sessions(id, keep, event.at).await?;
        commit_if(true, change, event).await
    }

    async fn enable_user(&self, id: UserId, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let disabled = change.user(id).await?.filter(|user| user.disabled_at.is_some());
        let Some(mut user) = disabled else { return Ok(false) };
        user.disabled_at = None;
        change.update_user(&user).await?;
        commit_if(true, change, event).await
    }

    async fn disable_user(&self, id: UserId, at: Timestamp, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let enabled = change.user(id).await?.filter(|user| user.disabled_at.is_none());
        let Some(mut user) = enabled else { return Ok(false) };
        if last_admin(&mut change, &user).await? {
            return Ok(false);
        }
        user.disabled_at = Some(at);
        change.update_user(&user).await?;
        change.end_sessions(id, None, at).await?;
        commit_if(true, change, event).await
    }

    async fn insert_deployment(&self, spec: &DeploymentSpec, at: Timestamp, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        change.insert_deployment(spec, at).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn update_deployment(&self, spec: &DeploymentSpec, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let Some(mut current) = change.deployment(&spec.name).await? else { return Ok(false) };
        current.clone_from(spec);
        change.update_deployment(&current).await?;
        commit_if(true, change, event).await
    }

    async fn remove_deployment(
        &self,
        name: &DeploymentName,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Done<Option<Vec<TouchedToken>>> {
        let mut change = begin(self).await?;
        let touched = change.remove_deployment(name, at).await?;
        commit_if(touched.is_some(), change, event).await?;
        Ok(touched)
    }

    async fn knows_deployment(&self, name: &DeploymentName) -> Done<bool> {
        begin(self).await?.knows_deployment(name).await
    }

    async fn decide_login(&self, code: &CodeHash, decision: &LoginDecision, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let decided = change.decide_login(code, decision, event.at).await?;
        commit_if(decided, change, event).await
    }

    async fn claim_login(
        &self,
        code: &CodeHash,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Done<bool> {
        let mut change = begin(self).await?;
        let claimed = change.claim_login(code, event.at).await?;
        if claimed {
            change.insert_token(token).await?;
            change.insert_secret(token.uid, secret).await?;
        }
        commit_if(claimed, change, event).await
    }

    async fn insert_session(&self, session: &ConsoleSession, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        change.insert_session(session).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn end_session(&self, id: &CodeHash, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let ended = change.end_session(id).await?;
        commit_if(ended, change, event).await
    }

    async fn end_sessions(&self, user: UserId, keep: Option<&CodeHash>, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        change.end_sessions(user, keep, event.at).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn insert_invitation(&self, invitation: &Invitation, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        change.insert_invitation(invitation).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn accept_invitation(&self, code: &CodeHash, user: &User, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let Some(mut current) = change.use_invitation(code, event.at).await? else { return Ok(false) };
        if current.id != user.id {
            return Ok(false);
        }
        current.clone_from(user);
        change.update_user(&current).await?;
        change.end_sessions(user.id, None, event.at).await?;
        commit_if(true, change, event).await
    }

    async fn link_identity(&self, identity: &Identity, user: &User, new: bool, event: &AuditEvent) -> Done {
        let mut change = begin(self).await?;
        if new {
            change.insert_user(user).await?;
        }
        change.link_identity(identity, user.id, event.at).await?;
        commit_if(true, change, event).await.map(drop)
    }

    async fn insert_browser_session(
        &self,
        token: TokenUid,
        secret: &SecretRecord,
        forget: Timestamp,
        event: &AuditEvent,
    ) -> Done<bool> {
        let mut change = begin(self).await?;
        let live = change.token(token).await?.is_some_and(|token| token.revoked_at.is_none());
        if live {
            change.forget_browser_sessions(forget).await?;
            change.insert_secret(token, secret).await?;
        }
        commit_if(live, change, event).await
    }

    async fn end_browser_session(&self, id: LookupId, event: &AuditEvent) -> Done<bool> {
        let mut change = begin(self).await?;
        let ended = change.end_browser_session(id, event.at).await?;
        commit_if(ended, change, event).await
    }
}
