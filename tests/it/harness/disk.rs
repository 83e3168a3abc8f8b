//! A small disk that a test fills and makes read-only, with what a process on it really gets to see; and names that nobody finds.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::gateway::Setup;

const SIZE: &str = "8m";

/// Something in a mount namespace of its own, a file system in memory if nothing else is said, which needs no right that an
/// ordinary user of Debian has not. It is gone when this is dropped.
pub struct Disk {
    mounted_at: PathBuf,
    /// Keeps the namespace.
    holder: Child,
}

impl Disk {
    /// Over the directory `at`, for those that [`Self::on`] brings there.
    pub fn over(at: &Path) -> Self {
        Self::mounted_by(&format!("mount -t tmpfs -o size={SIZE} tmpfs \"$0\""), at)
    }

    /// No disk: whoever looks up the name of a host opens the file of names first, and waits there for ever. It is made `at` a
    /// place of the test's.
    pub fn whose_names_hang(at: &Path) -> Self {
        Self::mounted_by("mkfifo \"$0\" && mount --bind \"$0\" /etc/hosts", at)
    }

    fn mounted_by(script: &str, at: &Path) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--map-root-user", "/bin/sh", "-c"])
            .arg(format!("{script} && echo mounted && exec sleep infinity"))
            .arg(at)
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "a disk needs a mount namespace, which this machine refuses its users");
        Self { mounted_at: at.to_owned(), holder }
    }

    /// A command that sees the disk, in whatever directory it is started in.
    pub fn on(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount", "--user", "--preserve-credentials"]);
        // A new namespace begins at its root.
        command.args(["/bin/sh", "-c", "cd \"$HOME\" && exec \"$0\" \"$@\""]).arg(program);
        command
    }

    /// Until not a byte more can be written.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![b'x'; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    pub fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    pub fn remount(&self, option: &str) {
        let mut mount = self.on("mount");
        mount.env("HOME", "/").args(["-o", &format!("remount,{option}")]).arg(&self.mounted_at);
        assert!(mount.status().unwrap().success());
    }

    fn filler(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mounted_at.strip_prefix("/").unwrap()).join("filler")
    }
}

impl Setup {
    /// With its SQLite file on a disk of its own.
    pub fn on_a_disk_of_its_own(mut self) -> Self {
        let mounted_at = self.directory().join("disk");
        fs::create_dir(&mounted_at).unwrap();
        self.disk = Some(Disk::over(&mounted_at));
        self.env("STORE__URL", &format!("sqlite:{}", mounted_at.join("gateway.db").display()))
    }

    /// Where no name of a host is ever found, nor missed.
    pub fn where_names_hang(mut self) -> Self {
        self.disk = Some(Disk::whose_names_hang(&self.directory().join("hosts")));
        self
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
