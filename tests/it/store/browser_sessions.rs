//! Browsers at a Deployment, and their way there from the console.

use bento_gateway::{
    domain::{audit::Action, rights::Grantor, session::HandOver, timestamp::Timestamp, token::SecretRecord},
    store::Cursor,
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, behaviours, code, earlier, event, insert, later, owner, secret, token};

behaviours!(
    a_hand_over_is_good_once_for_its_browser,
    a_browser_session_is_a_secret_of_its_token,
    spent_browser_sessions_are_forgotten,
);

pub(super) fn browser_secret(until: Timestamp) -> SecretRecord {
    SecretRecord { retires_at: Some(until), session: Some("summarization".parse().unwrap()), ..secret() }
}

async fn a_hand_over_is_good_once_for_its_browser(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let now = system::now();
    let give = async |expires_at| {
        let (code, nonce) = (code(), code());
        let hand_over = HandOver {
            code_hash: code.hash(),
            nonce_hash: nonce.hash(),
            user: owner,
            token: None,
            deployment: "summarization".parse().unwrap(),
            expires_at,
        };
        store.insert_hand_over(&hand_over, &Grantor::Operator, now).await.unwrap();
        (code.hash(), nonce.hash())
    };
    let name = "summarization".parse().unwrap();
    let (code_hash, nonce) = give(later(now)).await;
    assert!(store.take_hand_over(&code_hash, &code().hash(), &name, now).await.unwrap().is_none());
    assert!(store.take_hand_over(&code_hash, &nonce, &"other".parse().unwrap(), now).await.unwrap().is_none());
    assert_eq!(store.take_hand_over(&code_hash, &nonce, &name, now).await.unwrap().unwrap().0.id, owner);
    assert!(store.take_hand_over(&code_hash, &nonce, &name, now).await.unwrap().is_none());

    let (code_hash, nonce) = give(later(now)).await;
    assert!(store.take_hand_over(&code_hash, &nonce, &name, later(now)).await.unwrap().is_none());
    store.disable_user(owner, now, &event(Action::UserDisabled)).await.unwrap();
    assert!(store.take_hand_over(&code_hash, &nonce, &name, now).await.unwrap().is_none());
}

async fn a_browser_session_is_a_secret_of_its_token(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let record = token(owner, "Browser: summarization");
    insert(&store, &record).await;
    assert_eq!(store.token_by_name(owner, "Browser: summarization").await.unwrap(), Some(record.clone()));
    assert_eq!(store.token_by_name(owner, "other").await.unwrap(), None);

    let seq = store.change_seq().await.unwrap();
    let browser = browser_secret(later(system::now()));
    let begun = event(Action::BrowserSignedIn);
    assert!(store.insert_browser_session(record.uid, &browser, Timestamp::from_millis(0), &begun).await.unwrap());
    let told = store.snapshot().await.unwrap().changed_secrets(Cursor::after(seq), 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].now.uid, &told[0].now.secret), (record.uid, &browser));

    let ended = event(Action::BrowserSignedOut);
    assert!(store.end_browser_session(browser.lookup_id, &ended).await.unwrap());
    assert!(!store.end_browser_session(browser.lookup_id, &event(Action::BrowserSignedOut)).await.unwrap());
    let told = store.snapshot().await.unwrap().changed_secrets(Cursor::after(seq + 1), 10).await.unwrap();
    assert_eq!(told[0].now.secret.retires_at, Some(ended.at));
    // What is no session is not ended so.
    let own = store.snapshot().await.unwrap().changed_secrets(Cursor::after(-1), 10).await.unwrap();
    let own = own.iter().find(|changed| changed.now.secret.session.is_none()).unwrap().now.secret.lookup_id;
    assert!(!store.end_browser_session(own, &event(Action::BrowserSignedOut)).await.unwrap());

    store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    let browser = browser_secret(later(system::now()));
    let begun = event(Action::BrowserSignedIn);
    assert!(!store.insert_browser_session(record.uid, &browser, Timestamp::from_millis(0), &begun).await.unwrap());
}

async fn spent_browser_sessions_are_forgotten(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let record = token(owner(&store).await, "t");
    insert(&store, &record).await;
    let now = system::now();
    for (until, forget) in [(earlier(now), earlier(earlier(now))), (later(now), now)] {
        let begun = event(Action::BrowserSignedIn);
        assert!(store.insert_browser_session(record.uid, &browser_secret(until), forget, &begun).await.unwrap());
    }
    let left = store.snapshot().await.unwrap().changed_secrets(Cursor::after(-1), 10).await.unwrap();
    let sessions: Vec<_> = left.iter().filter(|changed| changed.now.secret.session.is_some()).collect();
    assert_eq!(sessions.iter().map(|changed| changed.now.secret.retires_at).collect::<Vec<_>>(), [Some(later(now))]);
}
