//! Sessions at the console.

use bento_gateway::{
    domain::{audit::Action, code::CodeHash, session::ConsoleSession, timestamp::Timestamp, user::UserId},
    store::{ChangedUser, Cursor, SharedStore},
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, behaviours, browser_sessions::browser_secret, code, event, insert, later, owner, token};

behaviours!(a_session_lasts_until_it_is_over, a_disabled_user_has_no_session, all_sessions_of_a_user_end,);

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

pub(super) async fn begin(store: &SharedStore, user: UserId) -> CodeHash {
    let session = session(user);
    store.insert_session(&session, &event(Action::SignedIn)).await.unwrap();
    session.id_hash
}

pub(super) async fn is_signed_in(store: &SharedStore, id: &CodeHash) -> bool {
    store.session(id, system::now()).await.unwrap().is_some()
}

async fn a_session_lasts_until_it_is_over(under_test: StoreUnderTest) {
    let store = under_test.open().await;
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

async fn a_disabled_user_has_no_session(under_test: StoreUnderTest) {
    let store = under_test.open().await;
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
    assert_eq!(
        store.snapshot().await.unwrap().changed_users(seq).await.unwrap(),
        [ChangedUser { id: owner, disabled: false }]
    );
    assert!(!is_signed_in(&store, &id).await);
}

async fn all_sessions_of_a_user_end(under_test: StoreUnderTest) {
    let store = under_test.open().await;
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
    let told = store.snapshot().await.unwrap().changed_secrets(Cursor::after(-1), 100).await.unwrap();
    let of = |lookup_id| told.iter().find(|changed| changed.now.secret.lookup_id == lookup_id).unwrap();
    assert_eq!(of(browser.lookup_id).now.secret.retires_at, Some(now.at));
    // The token itself goes on.
    assert!(told.iter().any(|changed| changed.now.secret.session.is_none() && changed.now.secret.retires_at.is_none()));

    // A new password ends them as well.
    store.set_password(mine, "$argon2id$new", None, &event(Action::UserPasswordSet)).await.unwrap();
    assert!(!is_signed_in(&store, &kept).await && is_signed_in(&store, &others).await);
}
