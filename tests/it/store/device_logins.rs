//! Logins of the command line by a browser.

use std::time::Duration;

use bento_gateway::{
    domain::{
        audit::Action,
        code::{NONCE_BYTES, Nonce},
        device_login::{DeviceLogin, LoginDecision},
        session::ConsoleSession,
        timestamp::Timestamp,
    },
    store::TokenFilter,
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, behaviours, event, owner, scopes, secret, token};

behaviours!(a_login_is_decided_once, a_login_is_claimed_once, what_stands_for_itself_is_forgotten_once_it_is_over,);

fn login(number: u8, expires_at: Timestamp) -> DeviceLogin {
    DeviceLogin {
        code_hash: Nonce::from_random([number; NONCE_BYTES]).hash(),
        asked_from: "192.0.2.7".to_owned(),
        asked_with: "python-httpx".to_owned(),
        created_at: Timestamp::from_millis(1_000),
        expires_at,
        decision: None,
        claimed_at: None,
    }
}

fn later() -> Timestamp {
    system::now().saturating_add(Duration::from_secs(600))
}

async fn a_login_is_decided_once(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let by = owner(&store).await;
    let (waiting, over) = (login(1, later()), login(2, Timestamp::from_millis(2_000)));
    store.insert_login(&waiting).await.unwrap();
    store.insert_login(&over).await.unwrap();
    assert_eq!(store.login(&waiting.code_hash).await.unwrap(), Some(waiting.clone()));
    assert_eq!(store.login(&login(3, later()).code_hash).await.unwrap(), None);

    let approved = LoginDecision::Approved { by, scopes: scopes(&["api", "deployment:*"]) };
    let decide = async |login: &DeviceLogin, decision: &LoginDecision| {
        store.decide_login(&login.code_hash, decision, &event(Action::LoginApproved)).await.unwrap()
    };
    assert!(!decide(&over, &approved).await, "it has run out");
    assert!(decide(&waiting, &approved).await);
    assert!(!decide(&waiting, &LoginDecision::Refused).await, "it is decided");
    let read = store.login(&waiting.code_hash).await.unwrap().unwrap();
    assert_eq!(read.decision, Some(approved));

    let refused = login(4, later());
    store.insert_login(&refused).await.unwrap();
    assert!(decide(&refused, &LoginDecision::Refused).await);
    assert_eq!(store.login(&refused.code_hash).await.unwrap().unwrap().decision, Some(LoginDecision::Refused));
    let claimed = store.claim_login(&refused.code_hash, &token(by, "x"), &secret(), &event(Action::TokenCreated)).await;
    assert!(!claimed.unwrap());
}

async fn a_login_is_claimed_once(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let by = owner(&store).await;
    let login = login(1, later());
    store.insert_login(&login).await.unwrap();
    let claim = |number: usize| {
        let (store, code) = (store.clone(), login.code_hash.clone());
        let record = token(by, &format!("claim {number}"));
        async move { store.claim_login(&code, &record, &secret(), &event(Action::TokenCreated)).await.unwrap() }
    };
    assert!(!claim(0).await, "nobody has approved it");
    let approved = LoginDecision::Approved { by, scopes: scopes(&["api"]) };
    assert!(store.decide_login(&login.code_hash, &approved, &event(Action::LoginApproved)).await.unwrap());
    let claims: Vec<_> = (1..=20).map(|number| tokio::spawn(claim(number))).collect();
    let mut made = 0;
    for claim in claims {
        made += usize::from(claim.await.unwrap());
    }
    assert_eq!(made, 1);
    let filter = TokenFilter { search: Some("claim".to_owned()), ..TokenFilter::newest(100) };
    assert_eq!(store.list_tokens(&filter).await.unwrap().total, 1);
}

/// So that a clock which is set back does not revive it.
async fn what_stands_for_itself_is_forgotten_once_it_is_over(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let user = owner(&store).await;
    let now = system::now();
    let (ended, before) = (now.saturating_sub(Duration::from_secs(60)), now.saturating_sub(Duration::from_secs(120)));
    let [over, goes_on] = [(1, ended), (2, later())];
    for (number, expires_at) in [over, goes_on] {
        store.insert_login(&login(number, expires_at)).await.unwrap();
        let session = ConsoleSession {
            id_hash: login(number, expires_at).code_hash,
            user,
            created_at: before,
            expires_at,
            address: String::new(),
            client: String::new(),
        };
        store.insert_session(&session, &event(Action::SignedIn)).await.unwrap();
    }
    store.forget_ended(now).await.unwrap();
    for ((number, expires_at), is_there) in [(over, false), (goes_on, true)] {
        let code = login(number, expires_at).code_hash;
        assert_eq!(store.login(&code).await.unwrap().is_some(), is_there);
        // By a clock that goes wrong.
        assert_eq!(store.session(&code, before).await.unwrap().is_some(), is_there);
    }
}
