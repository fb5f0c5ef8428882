//! What a file says: its tree, or all that is wrong with it.

mod places;
mod schema;
mod secrets;

use super::*;

fn loaded(text: &str) -> Loaded {
    let environment = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
    load_text("risefall.toml", text.to_owned(), &environment)
}

fn mistakes(text: &str) -> Vec<String> {
    match loaded(text).finish() {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.lines().collect(),
    }
}

/// Sees that these are the mistakes of the text, all of them, in this order.
fn assert_told(text: &str, expected: &[&str]) {
    let expected = expected.iter().map(|line| format!("risefall.toml:{line}"));
    assert_eq!(mistakes(text), expected.collect::<Vec<_>>());
}

/// What an operator is shown of a text that is not right.
fn shown(text: &str) -> String {
    loaded(text).finish().unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_all_defaults() {
    let tree = loaded("").finish().unwrap();
    assert_eq!(tree.health.max_fails, 3);
    assert!(tree.forward.is_empty());
}

#[test]
fn a_place_is_counted_as_the_file_has_it_where_an_element_was_refused() {
    let mut loaded = loaded(
        "\
[upstream.a]
servers = [\"x\", { address = \"y:1\", weight = 0 }, \"z:1\"]
[[site.b.route]]
methods = [\"get\", \"PUT\"]
",
    );
    // The first is gone; of the second only its weight is.
    loaded.refuse("upstream.a.servers[1]", "the third".to_owned());
    loaded.refuse("site.b.route[0].methods[0]", "the second".to_owned());
    assert!(loaded.has_mistakes_under("site.b.route[0]"));
    assert!(!loaded.has_mistakes_under("site.b.rout"));
    let lines: Vec<_> = loaded.finish().unwrap_err().lines().collect();
    for line in [
        "risefall.toml:2:50: upstream.a.servers[2]: the third",
        "risefall.toml:4:19: site.b.route[0].methods[1]: the second",
    ] {
        assert!(lines.iter().any(|known| known == line), "{lines:#?}");
    }
}

#[test]
fn a_mistake_is_shown_with_its_line_a_caret_and_the_nearest_name() {
    let shown = shown("[health]\nmax_fail = 3\n");
    for part in [
        "max_fail = 3",
        "^^^^^^^^",
        "did you mean \"max_fails\"?",
        "1 mistake",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn every_syntax_error_is_told() {
    let found = mistakes("[health\nmax_fails = \nmin_rises = = 3\n");
    assert!(found.len() >= 2, "{found:?}");
    for line in &found {
        assert!(line.starts_with("risefall.toml:"), "{line}");
    }
}

#[test]
fn included_files_are_joined_and_say_a_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let main = write(
        "main.toml",
        "include = [\"conf.d/*.toml\"]\n[health]\nmax_fails = 4\n",
    );
    write("conf.d/a.toml", "[forward.a]\nlisten = \"127.0.0.1:0\"\n");
    write(
        "conf.d/b.toml",
        "[health]\nmin_rises = 5\n[process]\nstate_file = \"s.json\"\n",
    );
    let tree = load(&main, &|_| None).unwrap().finish().unwrap();
    assert_eq!((tree.health.max_fails, tree.health.min_rises), (4, 5));
    assert!(tree.forward.contains_key("a"));
    let state = tree.process.state_file.unwrap().0;
    assert_eq!(state, folder.path().join("conf.d/s.json"));

    write(
        "conf.d/c.toml",
        "include = [\"../main.toml\", \"none.toml\"]\n[health]\nmax_fails = 5\n",
    );
    let error = load(&main, &|_| None).unwrap().finish().unwrap_err();
    let shown = error.to_string();
    for part in [
        "is included already",
        "there is no file",
        "health.max_fails: is said twice",
        "said here first",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_place_in_words_is_found_in_the_text() {
    let mut loaded = loaded("[forward.a]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n");
    assert!(loaded.says("forward.a.listen[1]") && !loaded.says("forward.a.parent"));
    loaded.refuse("forward.a.listen[1]", "no".to_owned());
    loaded.refuse("forward.a.parent", "is missing".to_owned());
    let lines: Vec<_> = loaded.finish().unwrap_err().lines().collect();
    assert_eq!(
        lines,
        [
            "risefall.toml:1:10: forward.a.parent: is missing",
            "risefall.toml:2:26: forward.a.listen[1]: no"
        ]
    );
}

#[test]
fn a_tree_that_is_written_out_is_read_as_the_same() {
    let text = include_str!("../../../fuzz/seeds/config/whole.toml").replace("${A}", "127.0.0.1:1");
    let written = loaded(&text).finish().unwrap().to_toml();
    assert!(written.contains("min_rises = 2"), "{written}");
    assert!(written.contains("token = \"<hidden>\""), "{written}");
    assert!(written.contains("alice = \"<hidden>\""), "{written}");
    assert!(
        written.contains("authorization = \"<hidden>\""),
        "{written}"
    );
    // Secrets are put back by hand.
    let known = written.replace("<hidden>", "hunter2");
    assert_eq!(loaded(&known).finish().unwrap().to_toml(), written);
    let path = "[process]\nstate_file = \"/a$$b\"\n";
    let written = loaded(path).finish().unwrap().to_toml();
    let state = loaded(&written).finish().unwrap().process.state_file;
    assert_eq!(state.unwrap().0, std::path::Path::new("/a$b"));
}

#[test]
fn depth_without_end_is_a_mistake_and_no_crash() {
    for text in [
        "a.".repeat(200_000) + "a = 1",
        format!("[{}a]", "a.".repeat(200_000)),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}", "{a=".repeat(200_000)),
        format!("include = {}", "[".repeat(200_000)),
    ] {
        let found = mistakes(&text);
        assert!(!found.is_empty());
        assert!(found.iter().all(|line| line.len() < 1_000_000));
    }
}
