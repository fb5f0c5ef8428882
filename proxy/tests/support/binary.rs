//! The binary as a process of its own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs it to its end.
pub fn risefall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_risefall"))
        .args(arguments)
        .output()
        .unwrap()
}

/// What it wrote to its standard output.
pub fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// What it wrote to its standard error.
pub fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Sees that a file says what was printed: by `check --print` every line of that is in force.
pub fn assert_says_the_same(file: &Path, printed: &str) {
    let checked = risefall(&["check", "-c", file.to_str().unwrap(), "--print"]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    // What follows from it is there besides.
    let checked: Vec<_> = out(&checked).lines().collect();
    for line in printed.lines() {
        assert!(checked.contains(&line), "{line}");
    }
}

/// A running `risefall proxy`, with what it said when it started.
pub struct Running {
    pub child: Child,
    pub proxy: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub summary: String,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_risefall")), arguments)
    }

    pub fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        command
            .args(["proxy", "--listen", "127.0.0.1:0", "--threads", "1"])
            .args(arguments);
        Self::launch(command)
    }

    /// Runs a file.
    pub fn run(file: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_risefall"));
        command.arg("run").arg("-c").arg(file);
        Self::launch(command)
    }

    pub fn launch(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let mut summary = String::new();
        while !summary.contains("try it") {
            let line = lines.next().expect("the proxy has started").unwrap();
            summary = summary + &line + "\n";
        }
        let address = |label| {
            let line = summary
                .lines()
                .find(|line| line.trim_start().starts_with(label))?;
            let said = line.split_whitespace().nth(1)?;
            said.trim_start_matches("http://").parse().ok()
        };
        let proxy = address("proxy").or_else(|| address("site")).unwrap();
        let admin = address("admin");
        Self {
            child,
            proxy,
            admin,
            summary,
        }
    }

    pub fn get(&self, target: SocketAddr) -> String {
        let mut stream = TcpStream::connect(self.proxy).unwrap();
        write!(
            stream,
            "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the end; gives the standard output.
    pub fn end(mut self) -> String {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(10), "it did not end");
            std::thread::yield_now();
        }
        assert!(self.child.wait().unwrap().success());
        let mut out = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        out
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
