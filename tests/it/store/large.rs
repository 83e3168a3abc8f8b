//! A store of many tokens.

use std::time::{Duration, Instant};

use bento_gateway::{
    domain::{audit::Action, token::TokenRecord},
    store::{Cursor, TokenFilter},
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, deployments::add, event, everything, insert, owner, scopes, spec, token, traffic::used};

const MANY: &str = "
    INSERT INTO api_tokens (id, owner_id, name, description, search_text, scopes, created_at)
    SELECT {id}, (SELECT id FROM users), 'token ' || n, '', 'token ' || n, {scopes}, {at} FROM {numbers};
    INSERT INTO token_secrets (lookup_id, token_id, hash, changed_seq)
    SELECT {lookup}, {id}, '$argon2id$v=19$m=64,t=1,p=1$0123456789abcdef012345$0123456789abcdef0123456789abcdef0123456789a', n
    FROM {numbers};
    UPDATE change_seq SET seq = 20000;
    ANALYZE";

async fn many_tokens(under_test: StoreUnderTest, fill: [(&str, &str); 5]) {
    const TOKENS: usize = 20_000;
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let fill = fill.iter().fold(MANY.to_owned(), |sql, (key, value)| sql.replace(&format!("{{{key}}}"), value));
    let begun = Instant::now();
    under_test.execute(&fill).await;
    println!("filled in {:?}", begun.elapsed());
    let plan = under_test.plan_of_changed_secrets().await;
    println!("{plan}");
    assert!(plan.contains("token_secrets_changed_idx") && !plan.to_lowercase().contains("sort"));

    let begun = Instant::now();
    let (mut cursor, mut read, mut slowest) = (Cursor::after(0), 0, Duration::ZERO);
    loop {
        let page_begun = Instant::now();
        let page = store.snapshot().await.unwrap().changed_secrets(cursor.clone(), 3_000).await.unwrap();
        slowest = slowest.max(page_begun.elapsed());
        let Some(last) = page.last() else { break };
        cursor = last.cursor();
        read += page.len();
    }
    println!("{read} secrets read in {:?}, the slowest page of 3,000 in {slowest:?}", begun.elapsed());
    assert_eq!(read, TOKENS);

    for (what, filter) in [
        ("first page", TokenFilter { limit: 20, ..everything() }),
        ("owner's first page", TokenFilter { limit: 20, owner: Some(owner), ..everything() }),
        ("search", TokenFilter { limit: 20, search: Some("99999".to_owned()), ..everything() }),
    ] {
        let begun = Instant::now();
        let page = store.list_tokens(&filter).await.unwrap();
        println!("{what} of {} in {:?}", page.total, begun.elapsed());
    }
    let begun = Instant::now();
    insert(&store, &TokenRecord { scopes: scopes(&["api", "deployment:old"]), ..token(owner, "one more") }).await;
    println!("inserted in {:?}", begun.elapsed());
    add(&store, &spec("old", &[])).await.unwrap();
    let begun = Instant::now();
    let removed = event(Action::DeploymentRemoved);
    let touched = store.remove_deployment(&"old".parse().unwrap(), system::now(), &removed).await.unwrap().unwrap();
    println!("a Deployment removed in {:?}, {} token touched", begun.elapsed(), touched.len());
    let uses: Vec<_> = store
        .list_tokens(&everything())
        .await
        .unwrap()
        .items
        .iter()
        .map(|token| used(token.uid, system::now()))
        .collect();
    let begun = Instant::now();
    store.record_use(&uses).await.unwrap();
    println!("{} uses recorded in {:?}", uses.len(), begun.elapsed());
}

#[tokio::test]
async fn postgres_walks_an_index_through_many_tokens() {
    let fill = [
        (
            "id",
            "(lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
        ),
        ("scopes", "ARRAY['deployment:*', 'deployment:a' || (n % 100)]"),
        ("at", "to_timestamp(n)"),
        ("numbers", "generate_series(1::bigint, 20000) AS n"),
        ("lookup", "lpad(to_hex(n * 2654435761 % 4294967296), 12, '0')"),
    ];
    many_tokens(StoreUnderTest::postgres().await, fill).await;
}

#[tokio::test]
async fn sqlite_walks_an_index_through_many_tokens() {
    let fill = [
        ("id", "printf('%08x-0000-7000-8000-%012x', n * 2654435761 % 4294967296, n)"),
        ("scopes", "json_array('deployment:*', 'deployment:a' || (n % 100))"),
        ("at", "n * 1000"),
        (
            "numbers",
            "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 20000) SELECT n FROM numbers)",
        ),
        ("lookup", "printf('%012x', n * 2654435761 % 4294967296)"),
    ];
    many_tokens(StoreUnderTest::sqlite().await, fill).await;
}
