//! A gateway's process and what it says.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

#[derive(Default)]
pub struct Output {
    pub stdout: Mutex<Vec<String>>,
    pub stderr: Mutex<Vec<String>>,
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
