//! A gateway's process and what it says.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use super::disk::Disk;

/// Of the release that is tested.
pub const BINARY: &str = env!("CARGO_BIN_EXE_bento-gateway");

#[derive(Default)]
pub struct Output {
    pub stdout: Mutex<Vec<String>>,
    pub stderr: Mutex<Vec<String>>,
}

/// The binary with this gateway's settings, and nothing of the tests' own environment.
pub fn command(
    binary: &Path,
    directory: &Path,
    env: &BTreeMap<String, String>,
    disk: Option<&Disk>,
    ulimit: Option<&str>,
) -> Command {
    let mut command = match (disk, ulimit) {
        (None, None) => Command::new(binary),
        (Some(disk), None) => disk.on(binary),
        (None, Some(ulimit)) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("ulimit {ulimit} && exec \"$0\" \"$@\"")]).arg(binary);
            shell
        }
        (Some(_), Some(_)) => panic!("a disk and an ulimit in one"),
    };
    command.current_dir(directory).env_clear().env("HOME", directory).envs(env).stdin(Stdio::null());
    command.args(["--config", "gateway.toml"]);
    command
}

pub fn spawn(mut command: Command, arguments: &[String], output: &Arc<Output>) -> (Child, Vec<JoinHandle<()>>) {
    command.arg("serve").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let readers = vec![
        collect(child.stdout.take().unwrap(), Arc::clone(output), |output| &output.stdout),
        collect(child.stderr.take().unwrap(), Arc::clone(output), |output| &output.stderr),
    ];
    (child, readers)
}

fn collect(
    source: impl Read + Send + 'static,
    output: Arc<Output>,
    lines: fn(&Output) -> &Mutex<Vec<String>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            lines(&output).lock().unwrap().push(line);
        }
    })
}
