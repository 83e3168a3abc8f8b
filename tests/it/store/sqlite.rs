//! What the store promises on SQLite alone.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use bento_gateway::{
    config::StoreUrl,
    store::{self, StoreError},
};
use tokio::time::timeout;

use super::{StoreUnderTest, config, insert, owner, token};

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

/// As after a restore that moves a backup to where the file was.
#[tokio::test]
async fn a_file_that_is_replaced_is_opened_anew() {
    let under_test = StoreUnderTest::sqlite().await;
    let StoreUrl::Sqlite(path) = &under_test.config.url else { unreachable!() };
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
    let store = under_test.open().await;
    let owner_id = owner(&store).await;
    let (kept, lost) = (token(owner_id, "kept"), token(owner_id, "lost"));
    insert(&store, &kept).await;
    under_test.execute(&format!("VACUUM INTO '{}'", beside(".backup").display())).await;
    insert(&store, &lost).await;
    let known = async |uid| match store.token(uid).await {
        Ok(token) => Ok(token.is_some()),
        Err(StoreError::Unavailable(text)) => Err(text),
        Err(other) => Err(other.to_string()),
    };
    assert_eq!(known(lost.uid).await, Ok(true));

    for old in ["-wal", "-shm"] {
        fs::remove_file(beside(old)).unwrap();
    }
    fs::rename(beside(".backup"), path).unwrap();
    assert_eq!((known(kept.uid).await, known(lost.uid).await), (Ok(true), Ok(false)));
    // What is written is in the file that others open.
    let new = token(owner_id, "new");
    insert(&store, &new).await;
    assert!(under_test.open().await.token(new.uid).await.unwrap().is_some());
    assert!(store.pools().iter().all(|pool| pool.used <= pool.max));

    // While there is none, or nothing in it yet, nothing is created or written.
    let away = beside(".away");
    fs::rename(path, &away).unwrap();
    assert!(known(kept.uid).await.unwrap_err().contains("No such file"));
    fs::write(path, "").unwrap();
    assert!(known(kept.uid).await.unwrap_err().contains("is empty"));
    assert_eq!(fs::read(path).unwrap(), b"");
    let whole = fs::read(&away).unwrap();
    fs::write(path, &whole[..whole.len() / 2]).unwrap();
    assert!(known(kept.uid).await.is_err());
    assert_eq!(fs::read(path).unwrap(), &whole[..whole.len() / 2]);
    for part in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(part));
    }
    fs::rename(&away, path).unwrap();
    assert_eq!((known(kept.uid).await, known(lost.uid).await), (Ok(true), Ok(false)));
}

#[tokio::test]
async fn never_notifies() {
    let under_test = StoreUnderTest::sqlite().await;
    let store = under_test.open().await;
    owner(&store).await;
    assert!(timeout(Duration::from_millis(100), store.notified()).await.is_err());
}
