//! `risefall serve` as people use it: what it says, what it refuses, and the file that says the same.

// A test may fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "support/binary.rs"]
mod binary;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use binary::{Running, assert_says_the_same, out, risefall, said};

/// A folder with a page, a file with a password, and a file that is no folder.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "<p>hello").unwrap();
    std::fs::write(folder.path().join("password"), "hunter2\n").unwrap();
    folder
}

fn start(folder: &tempfile::TempDir, arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_risefall"));
    command.arg("serve").arg(folder.path());
    command.args(["--threads", "1", "--admin", "off"]);
    command.args(arguments);
    Running::launch(command)
}

#[test]
fn it_says_where_it_is_and_what_is_shown() {
    let folder = folder();
    let running = start(&folder, &["--listen", "127.0.0.1:0"]);
    let (summary, root) = (&running.summary, folder.path().display());
    let url = format!("http://{}", running.proxy);
    for line in [
        format!("  site     {url}  every host"),
        format!("  route    /  files of {root}"),
        "           folders without an index are listed; names that begin with a dot are hidden; \
         links lead nowhere else"
            .to_owned(),
        format!("  try it   curl {url}/"),
    ] {
        assert!(
            summary.lines().any(|said| said == line),
            "{line}\n{summary}"
        );
    }
    // There are no servers of which that could be said, and no passwords.
    assert!(
        !summary.contains("failures") && !summary.contains("warning"),
        "{summary}"
    );
}

#[test]
fn passwords_in_the_clear_are_warned_of_where_others_could_read_them() {
    let folder = folder();
    let file = format!("alice:{}", folder.path().join("password").display());
    let user = ["--user-file", &*file];
    for (listen, is_warned) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let running = start(&folder, &[&["--listen", listen][..], &user].concat());
        let summary = &running.summary;
        assert!(summary.contains("for 1 user alone, by name"), "{summary}");
        assert_eq!(
            summary.contains(&format!("  warning  passwords go to {}", running.proxy)),
            is_warned,
            "{summary}"
        );
        assert!(!summary.contains("hunter2"), "{summary}");
    }
}

#[test]
fn what_is_wrong_exits_with_2_and_says_what_would_be_right() {
    let folder = folder();
    let page = folder.path().join("index.html");
    let page = page.to_str().unwrap();
    for (arguments, hint) in [
        (
            &["serve", "/no/such/folder"][..],
            "DIR: cannot read the folder /no/such/folder: No such",
        ),
        (&["serve", page], "Not a directory"),
        (&["serve", "--links", "some"], "inside, all, off"),
        (&["serve", "--index", "a/b"], "such as index.html"),
        (&["serve", "--cors=*"], "https://app.example.com"),
        (
            &["serve", "--cors", "http://A.example"],
            "https://app.example.com",
        ),
        (&["serve", "https://a.example"], "--cors=https://a.example"),
        (&["serve", "--user", "hunter2"], "NAME:PASSWORD"),
        (
            &["serve", "--user-file", "a:/no/file"],
            "--user-file: cannot read /no/file",
        ),
        (&["serve", "--tls-cert", "x"], "--tls-key"),
        (
            &["serve", "--tls-cert", "/no", "--tls-key", "/no"],
            "--tls-cert: /no",
        ),
        (&["serve", "--cache-control", "a\nb"], "printable ASCII"),
    ] {
        let output = risefall(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = said(&output);
        assert!(said.contains(hint), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let output = risefall(&["serve", "--help"]);
    for word in [
        "127.0.0.1:8080",
        "Examples:",
        "--user-file",
        "list of processes",
    ] {
        assert!(out(&output).contains(word), "{word}");
    }
}

#[test]
fn it_prints_a_file_that_says_the_same_and_no_password() {
    let folder = folder();
    let root = folder.path().to_str().unwrap();
    let file = format!("bob:{root}/password");
    for arguments in [
        &["serve", "--cors", "https://a.example", root][..],
        &["serve", root],
        &[
            "serve",
            root,
            "--spa",
            "--no-listing",
            "--hidden",
            "--links",
            "off",
            "--cors",
        ],
        &[
            "serve",
            root,
            "--cache-control",
            "max-age=60",
            "--no-compress",
            "--index",
            "a.htm",
        ],
        &[
            "serve",
            root,
            "--user",
            "alice:hunter2",
            "--user-file",
            &file,
            "--h2c",
        ],
    ] {
        let printed = risefall(&[arguments, &["--print-config"]].concat());
        assert_eq!(printed.status.code(), Some(0), "{}", said(&printed));
        assert!(!out(&printed).contains("hunter2"));
        let path = folder.path().join("printed.toml");
        // What stands in the place of a password must not be one.
        std::fs::write(&path, &printed.stdout).unwrap();
        if out(&printed).contains("<hidden>") {
            let refused = risefall(&["check", "-c", path.to_str().unwrap()]);
            assert_eq!(refused.status.code(), Some(2));
            assert!(said(&refused).contains("expected the secret itself"));
        }
        let known = out(&printed).replace("<hidden>", "hunter2");
        std::fs::write(&path, known).unwrap();
        assert_says_the_same(&path, out(&printed));
    }
}

#[test]
fn a_page_that_is_not_there_yet_is_a_warning_and_no_mistake() {
    let folder = folder();
    let file = folder.path().join("risefall.toml");
    let text = "\
[admin]
listen = \"off\"
[site.home]
listen = \"127.0.0.1:0\"
[[site.home.route]]
root = \".\"
[site.home.route.files]
try_files = [\"{path}\", \"/index.html\", \"/app.html\"]
error_pages = { 403 = \"/index.html\", 404 = \"/404.html\" }
";
    std::fs::write(&file, text).unwrap();
    let lines = [
        ("8:39: site.home.route[0].files.try_files[2]", "/app.html"),
        (
            "9:44: site.home.route[0].files.error_pages.404",
            "/404.html",
        ),
    ];
    let lines = lines.map(|(place, page)| {
        let file = file.display();
        format!("{file}:{place}: found {page:?}, but there is no such file")
    });
    let check = || risefall(&["check", "-c", file.to_str().unwrap()]);
    let checked = check();
    assert_eq!(checked.status.code(), Some(0));
    let told = said(&checked);
    assert_eq!(told.matches("warning").count(), 2, "{told}");
    assert!(told.ends_with("nothing is wrong\n"), "{told}");
    let running = Running::run(&file);
    for line in lines {
        assert!(told.contains(&format!("warning: {line}")), "{line}\n{told}");
        let summary = &running.summary;
        assert!(summary.contains(&format!("  warning  {line}")), "{summary}");
    }
    for page in ["app.html", "404.html"] {
        std::fs::write(folder.path().join(page), "").unwrap();
    }
    assert!(!said(&check()).contains("warning"));
    let spa = ["--listen", "127.0.0.1:0", "--spa", "--index", "home.html"];
    let summary = start(&folder, &spa).summary.clone();
    let line = "  warning  --spa: found \"/home.html\", but there is no such file";
    assert!(summary.contains(line), "{summary}");
}

/// Asks on a connection that stays open; gives the head of the answer.
fn ask(client: &mut TcpStream, method: &str, path: &str) -> String {
    write!(
        client,
        "{method} {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"
    )
    .unwrap();
    let mut client = BufReader::new(client);
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = said.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; len];
    client.read_exact(&mut body).unwrap();
    head
}

#[test]
fn without_descriptors_it_says_come_back_and_what_would_help() {
    let folder = folder();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_risefall"));
    command.arg("serve").arg(folder.path());
    command.args(["--threads", "1", "--admin", "off", "--access-log", "off"]);
    command.args(["--listen", "127.0.0.1:0", "--max-connections", "1000"]);
    let mut running = Running::launch(command);
    let mut client = TcpStream::connect(running.proxy).unwrap();
    assert!(ask(&mut client, "OPTIONS", "/").starts_with("HTTP/1.1 204"));
    let others: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(running.proxy).unwrap())
        .collect();
    let mut until = |status: u16| {
        let start = Instant::now();
        loop {
            let head = ask(&mut client, "GET", "/index.html");
            if head.starts_with(&format!("HTTP/1.1 {status}")) {
                return head;
            }
            // What is kept is asked for again after a while.
            assert!(start.elapsed() < Duration::from_secs(10), "{head}");
        }
    };
    let refused = until(503).to_ascii_lowercase();
    assert!(refused.contains("retry-after: 1"), "{refused}");
    drop(others);
    until(200);
    running.child.kill().unwrap();
    let mut log = String::new();
    let mut stderr = running.child.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    let told = log.lines().find(|line| line.contains("cannot be opened"));
    assert!(told.unwrap().contains("ulimit -n, LimitNOFILE"), "{log}");
}
