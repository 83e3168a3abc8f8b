//! A small disk that a test fills and makes read-only, with what a process on it really gets to see.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const SIZE: &str = "8m";

/// A file system in memory in a mount namespace of its own, which needs no right that an ordinary user of Debian has not.
/// It is gone when this is dropped.
pub struct Disk {
    mounted_at: PathBuf,
    /// Keeps the namespace.
    holder: Child,
}

impl Disk {
    /// Over the directory `at`, for those that [`Self::on`] brings there.
    pub fn over(at: &Path) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--map-root-user", "/bin/sh", "-c"])
            .arg(format!("mount -t tmpfs -o size={SIZE} tmpfs \"$0\" && echo mounted && exec sleep infinity"))
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
    pub fn on(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount", "--user", "--preserve-credentials"]);
        // A new namespace begins at its root.
        command.args(["/bin/sh", "-c", "cd \"$HOME\" && exec \"$0\" \"$@\"", program]);
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
        std::fs::remove_file(self.filler()).unwrap();
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

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
