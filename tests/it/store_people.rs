//! What every store promises to people with a browser: sessions, links that work once, browser sessions of Deployments,
//! figures to look at.

use std::time::Duration;

use bento_gateway::{
    domain::{
        audit::Action,
        code::{CodeHash, OneTimeCode},
        session::{ConsoleSession, HandOver, Identity, Invitation},
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord},
        usage::{Day, TokenUse, Traffic},
        user::{Role, User, UserId},
    },
    store::{ChangedUser, Conflict, Cursor, EventFilter, SharedStore, TokenFilter, TokenOrder},
    system,
};

use crate::store_contract::{Place, assert_conflict, behaviours, event, insert, owner, scopes, secret, token, user};

behaviours!(
    a_session_lasts_until_it_is_over,
    a_disabled_user_has_no_session,
    one_admin_stays_whoever_disables_whom,
    all_sessions_of_a_user_end,
    an_invitation_is_used_once,
    a_new_invitation_ends_the_earlier_one,
    an_identity_leads_to_its_user,
    a_hand_over_is_good_once_for_its_browser,
    a_browser_session_is_a_secret_of_its_token,
    spent_browser_sessions_are_forgotten,
    tokens_are_listed_in_every_order,
    tokens_that_open_a_deployment,
    events_are_filtered,
    traffic_adds_up,
);

const HOUR: Duration = Duration::from_secs(3600);

fn code() -> OneTimeCode {
    system::new_code().unwrap()
}

fn later(at: Timestamp) -> Timestamp {
    at.saturating_add(HOUR)
}

fn earlier(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - 3_600_000)
}

fn session(user: UserId) -> ConsoleSession {
    let now = system::now();
    ConsoleSession {
        id_hash: code().hash(),
        user,
        created_at: now,
        expires_at: later(now),
        address: "127.0.0.1".to_owned(),
        client: "Firefox".to_owned(),
    }
}

async fn begin(store: &SharedStore, user: UserId) -> CodeHash {
    let session = session(user);
    store.insert_session(&session, &event(Action::SignedIn)).await.unwrap();
    session.id_hash
}

async fn is_signed_in(store: &SharedStore, id: &CodeHash) -> bool {
    store.session(id, system::now()).await.unwrap().is_some()
}

fn browser_secret(until: Timestamp) -> SecretRecord {
    SecretRecord { retires_at: Some(until), session: Some("summarization".parse().unwrap()), ..secret() }
}

async fn a_session_lasts_until_it_is_over(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let session = session(owner);
    store.insert_session(&session, &event(Action::SignedIn)).await.unwrap();
    let (found, user) = store.session(&session.id_hash, system::now()).await.unwrap().unwrap();
    assert_eq!((found, user.id), (session.clone(), owner));
    assert!(store.session(&session.id_hash, session.expires_at).await.unwrap().is_none());
    assert!(!is_signed_in(&store, &code().hash()).await);
    assert_eq!(store.sessions_of(owner, system::now()).await.unwrap(), std::slice::from_ref(&session));

    assert!(store.end_session(&session.id_hash, &event(Action::SignedOut)).await.unwrap());
    assert!(!store.end_session(&session.id_hash, &event(Action::SignedOut)).await.unwrap());
    assert!(!is_signed_in(&store, &session.id_hash).await);
}

async fn a_disabled_user_has_no_session(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let id = begin(&store, owner).await;
    assert!(is_signed_in(&store, &id).await);
    store.disable_user(owner, system::now(), &event(Action::UserDisabled)).await.unwrap();
    assert!(!is_signed_in(&store, &id).await);

    // Nor does it come back with them.
    let seq = store.change_seq().await.unwrap();
    assert!(store.enable_user(owner, &event(Action::UserEnabled)).await.unwrap());
    assert!(!store.enable_user(owner, &event(Action::UserEnabled)).await.unwrap());
    assert_eq!(store.user(owner).await.unwrap().unwrap().disabled_at, None);
    assert_eq!(store.changed_users(seq).await.unwrap(), [ChangedUser { id: owner, disabled: false }]);
    assert!(!is_signed_in(&store, &id).await);
}

async fn one_admin_stays_whoever_disables_whom(place: Place) {
    let stores = [place.open().await, place.open().await];
    let admin = |email: &str| User { role: Role::Admin, ..user(email) };
    let two = [admin("a@example.com"), admin("b@example.com")];
    for one in &two {
        stores[0].insert_user(one, &event(Action::UserCreated)).await.unwrap();
    }
    for _ in 0..10 {
        // At the same time, at two gateways: one is disabled, the other one made a member.
        let disable = async {
            let event = event(Action::UserDisabled);
            stores[0].disable_user(two[0].id, event.at, &event).await.unwrap()
        };
        let demote = async {
            let member = User { role: Role::Member, ..two[1].clone() };
            stores[1].update_user(&member, &event(Action::UserUpdated)).await.unwrap()
        };
        let (disabled, demoted) = tokio::join!(disable, demote);
        assert!(disabled != demoted, "disabled {disabled}, demoted {demoted}");
        stores[0].enable_user(two[0].id, &event(Action::UserEnabled)).await.unwrap();
        assert!(stores[0].update_user(&two[1], &event(Action::UserUpdated)).await.unwrap());
    }
}

async fn all_sessions_of_a_user_end(place: Place) {
    let store = place.open().await;
    let (mine, other) = (owner(&store).await, owner(&store).await);
    let (kept, ended, others) = (begin(&store, mine).await, begin(&store, mine).await, begin(&store, other).await);
    let record = token(mine, "t");
    insert(&store, &record).await;
    let browser = browser_secret(later(system::now()));
    let forget = Timestamp::from_millis(0);
    assert!(store.insert_browser_session(record.uid, &browser, forget, &event(Action::BrowserSignedIn)).await.unwrap());

    let now = event(Action::SessionsEnded);
    store.end_sessions(mine, Some(&kept), &now).await.unwrap();
    assert!(is_signed_in(&store, &kept).await && is_signed_in(&store, &others).await);
    assert!(!is_signed_in(&store, &ended).await);
    let told = store.changed_secrets(Cursor::after(-1), 100).await.unwrap();
    let of = |lookup_id| told.iter().find(|changed| changed.secret.lookup_id == lookup_id).unwrap();
    assert_eq!(of(browser.lookup_id).secret.retires_at, Some(now.at));
    // The token itself goes on.
    assert!(told.iter().any(|changed| changed.secret.session.is_none() && changed.secret.retires_at.is_none()));

    // A new password ends them as well.
    store.set_password(mine, "$argon2id$new", None, &event(Action::UserPasswordSet)).await.unwrap();
    assert!(!is_signed_in(&store, &kept).await && is_signed_in(&store, &others).await);
}

fn invitation(user: UserId) -> (OneTimeCode, Invitation) {
    let (code, now) = (code(), system::now());
    let code_hash = code.hash();
    (code, Invitation { code_hash, user, created_at: now, expires_at: later(now) })
}

async fn an_invitation_is_used_once(place: Place) {
    let stores = [place.open().await, place.open().await];
    let store = &stores[0];
    let invited = user("invited@example.com");
    store.insert_user(&invited, &event(Action::UserCreated)).await.unwrap();
    store.insert_user(&user("taken@example.com"), &event(Action::UserCreated)).await.unwrap();
    let (code, invitation) = invitation(invited.id);
    store.insert_invitation(&invitation, &event(Action::UserInvited)).await.unwrap();
    assert_eq!(store.invitation(&code.hash(), system::now()).await.unwrap().unwrap().0, invitation);
    assert!(store.invitation(&code.hash(), invitation.expires_at).await.unwrap().is_none());

    let named = |email: &str| User {
        name: "New".to_owned(),
        email: email.parse().unwrap(),
        password_hash: Some("$argon2id$x".to_owned()),
        ..invited.clone()
    };
    let accepted = event(Action::InvitationAccepted);
    let taken = store.accept_invitation(&code.hash(), &named("taken@example.com"), &accepted).await;
    assert_conflict(taken, Conflict::Email);
    let session = begin(store, invited.id).await;

    // Of any number at once, one.
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..6 {
        let (store, hash, user) = (stores[at % 2].clone(), code.hash(), named("new@example.com"));
        calls.spawn(
            async move { store.accept_invitation(&hash, &user, &event(Action::InvitationAccepted)).await.unwrap() },
        );
    }
    let accepted = calls.join_all().await;
    assert_eq!(accepted.iter().filter(|accepted| **accepted).count(), 1);
    let known = store.user(invited.id).await.unwrap().unwrap();
    assert_eq!((known.name.as_str(), known.email.as_str()), ("New", "new@example.com"));
    assert!(known.password_hash.is_some());
    assert!(store.invitation(&code.hash(), system::now()).await.unwrap().is_none());
    assert!(!is_signed_in(store, &session).await);
}

async fn a_new_invitation_ends_the_earlier_one(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let ((first, one), (second, two)) = (invitation(owner), invitation(owner));
    store.insert_invitation(&one, &event(Action::UserInvited)).await.unwrap();
    store.insert_invitation(&two, &event(Action::UserInvited)).await.unwrap();
    assert!(store.invitation(&first.hash(), system::now()).await.unwrap().is_none());
    assert!(store.invitation(&second.hash(), system::now()).await.unwrap().is_some());
    store.disable_user(owner, system::now(), &event(Action::UserDisabled)).await.unwrap();
    assert!(store.invitation(&second.hash(), system::now()).await.unwrap().is_none());
}

async fn an_identity_leads_to_its_user(place: Place) {
    let store = place.open().await;
    let identity = |subject: &str| Identity { issuer: "https://id.test".to_owned(), subject: subject.to_owned() };
    assert!(store.user_by_identity(&identity("1")).await.unwrap().is_none());
    let known = user("known@example.com");
    store.insert_user(&known, &event(Action::UserCreated)).await.unwrap();
    store.link_identity(&identity("1"), &known, false, &event(Action::IdentityLinked)).await.unwrap();
    let new = user("new@example.com");
    store.link_identity(&identity("2"), &new, true, &event(Action::IdentityLinked)).await.unwrap();
    assert_eq!(store.user_by_identity(&identity("1")).await.unwrap().unwrap().id, known.id);
    assert_eq!(store.user_by_identity(&identity("2")).await.unwrap().unwrap().id, new.id);
    let (taken, linked) = (user("new@example.com"), event(Action::IdentityLinked));
    assert_conflict(store.link_identity(&identity("3"), &taken, true, &linked).await, Conflict::Email);
    assert!(store.user_by_identity(&identity("3")).await.unwrap().is_none());
}

async fn a_hand_over_is_good_once_for_its_browser(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let now = system::now();
    let give = async |expires_at| {
        let (code, nonce) = (code(), code());
        let hand_over = HandOver {
            code_hash: code.hash(),
            nonce_hash: nonce.hash(),
            user: owner,
            deployment: "summarization".parse().unwrap(),
            expires_at,
        };
        store.insert_hand_over(&hand_over, now).await.unwrap();
        (code.hash(), nonce.hash())
    };
    let name = "summarization".parse().unwrap();
    let (code_hash, nonce) = give(later(now)).await;
    assert!(store.take_hand_over(&code_hash, &code().hash(), &name, now).await.unwrap().is_none());
    assert!(store.take_hand_over(&code_hash, &nonce, &"other".parse().unwrap(), now).await.unwrap().is_none());
    assert_eq!(store.take_hand_over(&code_hash, &nonce, &name, now).await.unwrap().unwrap().id, owner);
    assert!(store.take_hand_over(&code_hash, &nonce, &name, now).await.unwrap().is_none());

    let (code_hash, nonce) = give(later(now)).await;
    assert!(store.take_hand_over(&code_hash, &nonce, &name, later(now)).await.unwrap().is_none());
    store.disable_user(owner, now, &event(Action::UserDisabled)).await.unwrap();
    assert!(store.take_hand_over(&code_hash, &nonce, &name, now).await.unwrap().is_none());
}

async fn a_browser_session_is_a_secret_of_its_token(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let record = token(owner, "Browser: summarization");
    insert(&store, &record).await;
    assert_eq!(store.token_by_name(owner, "Browser: summarization").await.unwrap(), Some(record.clone()));
    assert_eq!(store.token_by_name(owner, "other").await.unwrap(), None);

    let seq = store.change_seq().await.unwrap();
    let browser = browser_secret(later(system::now()));
    let begun = event(Action::BrowserSignedIn);
    assert!(store.insert_browser_session(record.uid, &browser, Timestamp::from_millis(0), &begun).await.unwrap());
    let told = store.changed_secrets(Cursor::after(seq), 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].uid, &told[0].secret), (record.uid, &browser));

    let ended = event(Action::BrowserSignedOut);
    assert!(store.end_browser_session(browser.lookup_id, &ended).await.unwrap());
    assert!(!store.end_browser_session(browser.lookup_id, &event(Action::BrowserSignedOut)).await.unwrap());
    let told = store.changed_secrets(Cursor::after(seq + 1), 10).await.unwrap();
    assert_eq!(told[0].secret.retires_at, Some(ended.at));
    // What is no session is not ended so.
    let own = store.changed_secrets(Cursor::after(-1), 10).await.unwrap();
    let own = own.iter().find(|changed| changed.secret.session.is_none()).unwrap().secret.lookup_id;
    assert!(!store.end_browser_session(own, &event(Action::BrowserSignedOut)).await.unwrap());

    store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    let browser = browser_secret(later(system::now()));
    let begun = event(Action::BrowserSignedIn);
    assert!(!store.insert_browser_session(record.uid, &browser, Timestamp::from_millis(0), &begun).await.unwrap());
}

async fn spent_browser_sessions_are_forgotten(place: Place) {
    let store = place.open().await;
    let record = token(owner(&store).await, "t");
    insert(&store, &record).await;
    let now = system::now();
    for (until, forget) in [(earlier(now), earlier(earlier(now))), (later(now), now)] {
        let begun = event(Action::BrowserSignedIn);
        assert!(store.insert_browser_session(record.uid, &browser_secret(until), forget, &begun).await.unwrap());
    }
    let left = store.changed_secrets(Cursor::after(-1), 10).await.unwrap();
    let sessions: Vec<_> = left.iter().filter(|changed| changed.secret.session.is_some()).collect();
    assert_eq!(sessions.iter().map(|changed| changed.secret.retires_at).collect::<Vec<_>>(), [Some(later(now))]);
}

async fn tokens_are_listed_in_every_order(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let now = system::now();
    let rows: [(&str, Option<Timestamp>, Option<Timestamp>); 3] =
        [("b", Some(later(now)), None), ("A", None, Some(now)), ("c", Some(now), Some(earlier(now)))];
    for (at, (name, expires_at, last_used_at)) in rows.into_iter().enumerate() {
        let created_at = Timestamp::from_millis(now.as_millis() + at as i64);
        insert(&store, &TokenRecord { created_at, expires_at, last_used_at, ..token(owner, name) }).await;
    }
    let names = async |order| {
        let filter = TokenFilter { search: None, owner: Some(owner), revoked: false, order, offset: 0, limit: 10 };
        let listed = store.list_tokens(&filter).await.unwrap().items;
        listed.into_iter().map(|token| token.name).collect::<Vec<_>>().concat()
    };
    assert_eq!(names(TokenOrder::Newest).await, "cAb");
    assert_eq!(names(TokenOrder::Name).await, "Abc");
    assert_eq!(names(TokenOrder::Expires).await, "cbA");
    assert_eq!(names(TokenOrder::LastUsed).await, "Acb");
}

async fn tokens_that_open_a_deployment(place: Place) {
    let store = place.open().await;
    let (mine, other) = (owner(&store).await, owner(&store).await);
    let now = system::now();
    for (name, owner, scope, expires_at) in [
        ("exact", mine, "deployment:team-a", None),
        ("prefix", other, "deployment:team-*", Some(later(now))),
        ("all", mine, "deployment:*", None),
        ("longer", mine, "deployment:team-ab", None),
        ("manager", mine, "api", None),
        ("expired", mine, "deployment:*", Some(now)),
    ] {
        insert(&store, &TokenRecord { scopes: scopes(&[scope]), expires_at, ..token(owner, name) }).await;
    }
    let opening = async |owner, limit| {
        let page = store.tokens_opening(&"team-a".parse().unwrap(), owner, now, limit).await.unwrap();
        let mut names: Vec<_> = page.items.into_iter().map(|token| token.name).collect();
        names.sort();
        (names.join(" "), page.total)
    };
    assert_eq!(opening(None, 10).await, ("all exact prefix".to_owned(), 3));
    assert_eq!(opening(Some(mine), 10).await, ("all exact".to_owned(), 2));
    assert_eq!(opening(None, 1).await.1, 3);
}

async fn events_are_filtered(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    for name in ["one", "two"] {
        insert(&store, &token(owner, name)).await;
    }
    begin(&store, owner).await;
    let all = store.events(&EventFilter { limit: 100, ..EventFilter::default() }).await.unwrap();
    assert_eq!(
        all.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(),
        ["session.signed_in", "token.created", "token.created", "user.created",]
    );
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!((all[0].actor_kind.as_str(), all[0].actor, all[0].target.as_str()), ("cli", None, "it"));
    assert_eq!(all[0].detail["why"], "test");
    let count = async |filter: EventFilter| store.events(&EventFilter { limit: 100, ..filter }).await.unwrap().len();
    assert_eq!(count(EventFilter { action: "token.".to_owned(), ..EventFilter::default() }).await, 2);
    assert_eq!(count(EventFilter { target: "nothing".to_owned(), ..EventFilter::default() }).await, 0);
    assert_eq!(count(EventFilter { actor: Some(owner), ..EventFilter::default() }).await, 0);
    assert_eq!(count(EventFilter { before: Some(all[1].id), ..EventFilter::default() }).await, 2);
    assert_eq!(store.events(&EventFilter { limit: 1, ..EventFilter::default() }).await.unwrap().len(), 1);
}

async fn traffic_adds_up(place: Place) {
    let stores = [place.open().await, place.open().await];
    let store = &stores[0];
    let row = |minute, metric: &str, total| Traffic {
        minute,
        metric: metric.to_owned(),
        subject: "summarization".to_owned(),
        total,
    };
    // Two gateways at once.
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..8 {
        let store = stores[at % 2].clone();
        let rows = [row(100, "requests", 1), row(101, "requests", 2), row(101, "failed", 1)];
        calls.spawn(async move { store.add_traffic(&rows).await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(
        store.traffic(100, 1).await.unwrap(),
        [row(100, "requests", 8), row(101, "failed", 8), row(101, "requests", 16)]
    );
    assert_eq!(store.traffic(100, 10).await.unwrap(), [row(100, "failed", 8), row(100, "requests", 24)]);
    assert_eq!(store.traffic(0, i64::MAX).await.unwrap(), [row(0, "failed", 8), row(0, "requests", 24)]);
    store.forget_traffic(101).await.unwrap();
    assert_eq!(store.traffic(0, 1).await.unwrap().len(), 2);

    let record = token(owner(store).await, "t");
    insert(store, &record).await;
    let day = Timestamp::from_millis(86_400_000 * 7);
    store.record_use(&[TokenUse { uid: record.uid, at: day, requests: 5 }]).await.unwrap();
    let usage = async |from| store.usage_of(&[record.uid], Day(from)).await.unwrap().get(&record.uid).copied();
    assert_eq!((usage(7).await, usage(8).await), (Some(5), None));
}
