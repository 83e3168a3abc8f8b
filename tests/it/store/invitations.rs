//! Links by which users set their password.

use bento_gateway::{
    domain::{
        audit::Action,
        code::Nonce,
        session::Invitation,
        user::{User, UserId},
    },
    store::Conflict,
    system,
};

use super::verbs::Verbs;
use super::{
    StoreUnderTest, assert_conflict, behaviours, code, event, later, owner,
    sessions::{begin, is_signed_in},
    user,
};

behaviours!(an_invitation_is_used_once, a_new_invitation_ends_the_earlier_one,);

fn invitation(user: UserId) -> (Nonce, Invitation) {
    let (code, now) = (code(), system::now());
    let code_hash = code.hash();
    (code, Invitation { code_hash, user, created_at: now, expires_at: later(now) })
}

async fn an_invitation_is_used_once(under_test: StoreUnderTest) {
    let stores = [under_test.open().await, under_test.open().await];
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
        single_sign_on: false,
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

async fn a_new_invitation_ends_the_earlier_one(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let ((first, one), (second, two)) = (invitation(owner), invitation(owner));
    store.insert_invitation(&one, &event(Action::UserInvited)).await.unwrap();
    store.insert_invitation(&two, &event(Action::UserInvited)).await.unwrap();
    assert!(store.invitation(&first.hash(), system::now()).await.unwrap().is_none());
    assert!(store.invitation(&second.hash(), system::now()).await.unwrap().is_some());
    store.disable_user(owner, system::now(), &event(Action::UserDisabled)).await.unwrap();
    assert!(store.invitation(&second.hash(), system::now()).await.unwrap().is_none());
}
