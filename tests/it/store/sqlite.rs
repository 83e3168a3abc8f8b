//! What the store promises on SQLite alone.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use bento_gateway::{
    config::StoreUrl,
    store::{self, StoreError},
};
use tokio::time::timeout;

use super::{StoreUnderTest, config, owner};

#[tokio::test]
async fn files_are_private() {
    let under_test = StoreUnderTest::sqlite().await;
    let StoreUrl::Sqlite(path) = &under_test.config.url else { unreachable!() };
    let store = under_test.open().await;
    owner(&store).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = path.parent().unwrap();
    let files: BTreeMap<String, u32> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), mode(file.path())))
        .collect();
    let expected = ["gateway.db", "gateway.db-shm", "gateway.db-wal"].map(|name| (name.to_owned(), 0o600));
    assert_eq!(files, expected.into());
    assert_eq!(mode(directory.to_owned()), 0o700);
}

#[tokio::test]
async fn says_which_file_it_cannot_use() {
    let directory = tempfile::tempdir().unwrap();
    let text_file = directory.path().join("notes.txt");
    fs::write(&text_file, "this is not a database, and long enough for SQLite to see that it is none: ".repeat(20))
        .unwrap();
    for path in
        [directory.path().to_owned(), text_file.clone(), text_file.join("gateway.db"), "/proc/gateway.db".into()]
    {
        let outcome = store::open(&config(StoreUrl::Sqlite(path.clone()))).await.map(drop);
        let Err(StoreError::Unusable(text)) = outcome else { panic!("{}: {outcome:?}", path.display()) };
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
    assert!(fs::read_to_string(&text_file).unwrap().starts_with("this is not"));
}

#[tokio::test]
async fn never_notifies() {
    let under_test = StoreUnderTest::sqlite().await;
    let store = under_test.open().await;
    owner(&store).await;
    assert!(timeout(Duration::from_millis(100), store.notified()).await.is_err());
}
