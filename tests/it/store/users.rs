//! Users, the first of them, and who they are to a provider of single sign-on.

use bento_gateway::{
    domain::{
        audit::Action,
        code::{NONCE_BYTES, Nonce},
        session::{Identity, Invitation},
        timestamp::Timestamp,
        user::{Role, User, UserId},
    },
    store::{ChangedUser, Conflict, Cursor},
    system,
};

use super::verbs::{Bootstrap, Verbs};
use super::{
    StoreUnderTest, all_secrets, assert_conflict, behaviours, event, everything, insert, owner, secret, token, user,
};

behaviours!(
    the_first_start_happens_once,
    users,
    disabled_users_are_told,
    a_user_is_changed,
    one_admin_stays_whoever_disables_whom,
    an_identity_leads_to_its_user,
);

fn first_start() -> Bootstrap {
    let admin = User { role: Role::Admin, ..user("admin@example.com") };
    let token = Some((token(admin.id, "first"), secret()));
    let invitation = Invitation {
        code_hash: Nonce::from_random([9; NONCE_BYTES]).hash(),
        user: admin.id,
        created_at: Timestamp::from_millis(0),
        expires_at: Timestamp::MAX,
    };
    Bootstrap { organization: "Acme".to_owned(), admin, token, invitation, event: event(Action::Bootstrapped) }
}

async fn the_first_start_happens_once(under_test: StoreUnderTest) {
    let stores = [under_test.open().await, under_test.open().await];
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = stores[number % 2].clone();
        calls.spawn(async move { store.bootstrap(&first_start()).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.iter().filter(|&&created| created).count(), 1, "{outcomes:?}");

    let [store, _] = stores;
    assert_eq!(store.list_users().await.unwrap().len(), 1);
    assert_eq!(store.list_tokens(&everything()).await.unwrap().total, 1);
    assert_eq!(all_secrets(&store, Cursor::after(0)).await.len(), 1);
    assert_eq!(store.change_seq().await.unwrap(), 1);
    assert_eq!(under_test.audit_trail().await, ["gateway.bootstrapped"]);
    assert!(!store.bootstrap(&first_start()).await.unwrap());
}

async fn users(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let ada = user("ada@example.com");
    let bob = User {
        role: Role::Admin,
        password_hash: Some("$argon2id$bob".to_owned()),
        single_sign_on: false,
        created_at: Timestamp::from_millis(5),
        disabled_at: Some(Timestamp::from_millis(6)),
        ..user("bob@example.com")
    };
    store.insert_user(&ada, &event(Action::UserCreated)).await.unwrap();
    store.insert_user(&bob, &event(Action::UserCreated)).await.unwrap();
    assert_conflict(store.insert_user(&user("ADA@example.com"), &event(Action::UserCreated)).await, Conflict::Email);

    let listed = store.list_users().await.unwrap();
    assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), [bob.id, ada.id], "oldest first");
    let found = store.user_by_email(&bob.email).await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{bob:?}"));
    assert!(store.user_by_email(&"eve@example.com".parse().unwrap()).await.unwrap().is_none());

    // As somebody might have written it by hand.
    under_test.execute("UPDATE users SET email = 'Ada@Example.com' WHERE email = 'ada@example.com'").await;
    assert_eq!(store.user_by_email(&ada.email).await.unwrap().unwrap().id, ada.id);

    let set = event(Action::UserPasswordSet);
    assert!(store.set_password(ada.id, "$argon2id$new", None, &set).await.unwrap());
    let found = store.user_by_email(&ada.email).await.unwrap().unwrap();
    assert_eq!(found.password_hash.as_deref(), Some("$argon2id$new"));
    assert!(
        !store.set_password(user("eve@example.com").id, "$x", None, &event(Action::UserPasswordSet)).await.unwrap()
    );
    assert_eq!(under_test.audit_trail().await, ["user.created", "user.created", "user.password_set"]);
}

async fn disabled_users_are_told(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let ada = owner(&store).await;
    insert(&store, &token(ada, "ci")).await;
    let before = store.change_seq().await.unwrap();
    assert!(store.snapshot().await.unwrap().changed_users(before).await.unwrap().is_empty());
    assert_eq!(
        store.snapshot().await.unwrap().changed_users(0).await.unwrap(),
        [ChangedUser { id: ada, disabled: false }]
    );

    let at = Timestamp::from_millis(77);
    assert!(store.disable_user(ada, at, &event(Action::UserDisabled)).await.unwrap());
    assert_eq!(
        store.snapshot().await.unwrap().changed_users(before).await.unwrap(),
        [ChangedUser { id: ada, disabled: true }]
    );
    assert_eq!(store.list_users().await.unwrap()[0].disabled_at, Some(at));
    assert_eq!(store.change_seq().await.unwrap(), before + 1);

    assert!(!store.disable_user(ada, system::now(), &event(Action::UserDisabled)).await.unwrap());
    assert!(!store.disable_user(user("eve@example.com").id, at, &event(Action::UserDisabled)).await.unwrap());
    assert_eq!(store.list_users().await.unwrap()[0].disabled_at, Some(at));
    assert_eq!(store.change_seq().await.unwrap(), before + 1);
}

async fn a_user_is_changed(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let id = owner(&store).await;
    let user = store.user(id).await.unwrap().unwrap();
    let changed = User { name: "Somebody else".to_owned(), role: Role::Member, ..user };
    assert!(store.update_user(&changed, &event(Action::UserUpdated)).await.unwrap());
    let read = store.user(id).await.unwrap().unwrap();
    assert_eq!((read.name.as_str(), read.role), ("Somebody else", Role::Member));
    let unknown = UserId(system::new_id(system::now()).unwrap());
    assert!(!store.update_user(&User { id: unknown, ..changed }, &event(Action::UserUpdated)).await.unwrap());
    assert!(store.user(unknown).await.unwrap().is_none());
}

async fn one_admin_stays_whoever_disables_whom(under_test: StoreUnderTest) {
    let stores = [under_test.open().await, under_test.open().await];
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

async fn an_identity_leads_to_its_user(under_test: StoreUnderTest) {
    let store = under_test.open().await;
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
