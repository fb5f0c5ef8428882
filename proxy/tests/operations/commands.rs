//! Commands that ask no process: checks of a file, files of a start, completions, pages.

use super::binary::{Running, out, risefall, said};

#[test]
fn completions_and_man_pages_know_every_command() {
    let bash = risefall(&["completions", "bash"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(
            risefall(&["completions", shell]).status.success(),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let done = risefall(&["man", "--write", folder.path().to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
    for command in [
        "proxy", "run", "check", "schema", "reload", "upgrade", "status", "explain", "health",
    ] {
        assert!(out(&bash).contains(command), "{command}");
        let page = folder.path().join(format!("risefall-{command}.1"));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&format!("risefall\\-{command}")), "{page}");
        assert_eq!(out(&risefall(&["man", command])), page);
    }
}

#[test]
fn a_check_tells_every_mistake_and_prints_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let path_text = path.to_str().unwrap();
    std::fs::write(
        &path,
        "[forward.a]\nlisten = \"0.0.0.0:80\"\nclient = []\n[limits]\nheader_count = 0\n",
    )
    .unwrap();
    let refused = risefall(&["check", "-c", path_text]);
    assert_eq!(refused.status.code(), Some(2));
    for words in [
        "a.toml:2:10: forward.a.listen",
        "clients",
        "a.toml:5:16",
        "3 mistakes",
    ] {
        assert!(
            said(&refused).contains(words),
            "{words}: {}",
            said(&refused)
        );
    }
    assert_eq!(risefall(&["run", "-c", path_text]).status.code(), Some(2));
    // A wrong element of a list does not move what is told of the others.
    let servers = "[forward.a]\nlisten = \"127.0.0.1:0\"\n[upstream.b]\nservers = [\"a\", \"b:1\", \"b:1\"]\n";
    std::fs::write(&path, servers).unwrap();
    let refused = risefall(&["check", "-c", path_text]);
    let words = "a.toml:4:24: upstream.b.servers[2]: b:1 is in this group already";
    assert!(said(&refused).contains(words), "{}", said(&refused));
    std::fs::write(&path, b"\xff\xfe\0").unwrap();
    let refused = risefall(&["check", "-c", path_text]);
    assert!(
        said(&refused).contains("no text in UTF-8"),
        "{}",
        said(&refused)
    );
    std::fs::write(
        &path,
        "[forward.a]\nlisten = \"127.0.0.1:0\"\n[admin]\ntoken = \"hunter2\"\n",
    )
    .unwrap();
    let right = risefall(&["check", "-c", path_text]);
    assert_eq!((right.status.code(), out(&right)), (Some(0), ""));
    let printed = risefall(&["check", "--print", "-c", path_text]);
    for words in [
        "connections = 10000",
        "allow_private = true",
        "max_fail_timeout = \"5m\"",
    ] {
        assert!(out(&printed).contains(words), "{words}: {}", out(&printed));
    }
    assert!(!out(&printed).contains("hunter2"));
    let nowhere = risefall(&["check", "-c", "/nowhere/at/all.toml"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(said(&nowhere).contains("cannot read /nowhere/at/all.toml"));
}

#[test]
fn a_one_line_start_prints_itself_as_a_file_that_runs() {
    let flags = [
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--threads",
        "1",
        "--admin",
        "off",
        "--max-fails",
        "4",
    ];
    let printed = risefall(&[&flags[..], &["--print-config"]].concat());
    assert!(printed.status.success(), "{}", said(&printed));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, &printed.stdout).unwrap();
    let running = Running::run(&path);
    assert!(
        running.summary.contains("down after 4 failures"),
        "{}",
        running.summary
    );
    assert_eq!(running.admin, None);
}
