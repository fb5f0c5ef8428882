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

#[test]
fn an_empty_file_is_all_defaults() {
    let tree = loaded("").finish().unwrap();
    assert_eq!(tree.health.max_fails, 3);
    assert!(tree.forward.is_empty());
}

#[test]
fn every_mistake_is_told_in_one_run_with_its_place() {
    let text = "\
[health]
max_fails = \"two\"
max_fail = 3
fail_timeout = \"60\"
min_rises = 300

[forward.office]
protocols = [\"htp\", \"socks4\"]

[upstream.api]
servers = []

[site.shop]
listen = \"127.0.0.1:80\"
";
    let found = mistakes(text);
    let expected = [
        "2:13: health.max_fails: found \"two\", expected a whole number from 1 to 255",
        "3:1: health.max_fail: there is no such key; expected one of connect_timeout, \
         fail_timeout, max_fail_timeout, max_fails, min_rises, recovery",
        "4:16: health.fail_timeout: found \"60\" without a unit, expected one such as 60s or 60ms",
        "5:13: health.min_rises: found 300, expected a whole number from 1 to 255",
        "7:1: forward.office.listen: is missing, expected an IP address and a port, such as \
         127.0.0.1:8090, or a list of these: an IP address and a port, such as 127.0.0.1:8090",
        "8:14: forward.office.protocols[0]: found \"htp\", expected http, socks5",
        "8:21: forward.office.protocols[1]: found \"socks4\", expected http, socks5",
        "11:11: upstream.api.servers: found an empty list, expected at least one",
        "13:2: site: is not yet available in risefall 0.1.0",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("risefall.toml:{line}"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_mistake_is_shown_with_its_line_a_caret_and_the_nearest_name() {
    let error = loaded("[health]\nmax_fail = 3\n").finish().unwrap_err();
    let shown = error.to_string();
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
fn variables_are_filled_in_and_secrets_never_shown() {
    let tree = loaded("[admin]\ntoken = \"${TOKEN}\"\n").finish().unwrap();
    assert_eq!(tree.admin.token.unwrap().reveal(), "hunter2");
    let error = loaded("[admin]\ntoken = \"${TOKE}\"\nlisten = \"${WHERE:-x}\"\n").finish();
    let lines: Vec<_> = error.unwrap_err().lines().collect();
    assert_eq!(
        lines[0],
        "risefall.toml:2:9: admin.token: the environment has no TOKE; set it, or write \
         ${TOKE:-DEFAULT}"
    );
    assert!(
        lines[1].contains("found \"x\", expected an address"),
        "{}",
        lines[1]
    );
    for text in [
        "[admin]\ntoken = hunter2\n",
        "[admin]\ntoken = \"hunter2\n",
        "[admin]\ntoken = [\"hunter2\"]\n",
        "admin = { token = \"hunter2\", lisen = 1 }\n",
        "[admin]\ntoken = \"\"\nlisten = { token = \"hunter2\" }\n",
    ] {
        let shown = loaded(text).finish().unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
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
    assert_eq!(loaded(&written).finish().unwrap().to_toml(), written);
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

/// Files of which some are right and some are not, and nothing else decides.
const SAMPLES: &[&str] = &[
    "",
    "include = []",
    "[process]\nthreads = 1024\nwatch = true\ndrain_timeout = \"1s\"",
    "[process]\nthreads = 1025",
    "[process]\nthreads = -1",
    "[process]\nthreads = 1.5",
    "[process]\nwatch = 1",
    "[process]\nstate_file = \"\"",
    "[log]\nlevel = \"loud\"",
    "[log]\nformat = \"json\"\naccess = \"off\"",
    "[admin]\nlisten = \"unix:/run/a\"\ntoken = \"x\"",
    "[admin]\nlisten = \"unix:a\"",
    "[limits]\nmemory = \"512MiB\"\nrequest_timeout = \"off\"\nheader_size = \"64KiB\"",
    "[limits]\nmemory = \"512\"",
    "[limits]\nconnections = 0",
    "[limits]\nconnection = 1",
    "[forward.a]\nlisten = \"127.0.0.1:0\"",
    "[forward.a]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"10.0.0.0/8\"]\nparent = \"b\"",
    "[forward.a]\nlisten = 8090",
    "[forward.a]\nlisten = [8090]",
    "[forward.a]\n",
    "[forward.\"a b\"]\nlisten = \"127.0.0.1:0\"",
    "[upstream.a]\nservers = [\"a:1\", { address = \"b:2\", backup = true }]\nmax_fails = 1",
    "[upstream.a]\nservers = [{ backup = true }]",
    "[upstream.a]\nservers = [{ address = \"b\" }]",
    "[upstream.a]\nservers = [{ address = \"b:1\", weight = 2 }]",
    "[upstream.a]\nservers = \"a:1\"",
    "[nothing]\n",
    "health = 3",
];

#[test]
fn a_general_validator_and_the_types_say_the_same() {
    let mut options = jsonschema::options();
    for name in [
        "time",
        "time-or-off",
        "size",
        "memory",
        "address",
        "control",
        "range",
        "server",
        "sink",
        "path",
    ] {
        options = options.with_format(name, move |text: &str| {
            scalar::hold(name, text).is_some_and(|held| held.is_ok())
        });
    }
    let general = options
        .should_validate_formats(true)
        .build(check::schema())
        .unwrap();
    for text in SAMPLES {
        let value: toml::Value = toml::from_str(text).unwrap();
        let json = serde_json::to_value(&value).unwrap();
        let ours = mistakes(text);
        assert_eq!(ours.is_empty(), general.is_valid(&json), "{text}: {ours:?}");
        let typed = serde_json::from_value::<Tree>(json);
        if ours.is_empty() {
            assert!(typed.is_ok(), "{text}: {typed:?}");
        }
    }
}

#[test]
fn the_schema_has_no_keyword_that_the_checker_does_not_know() {
    const KNOWN: &[&str] = &[
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "default",
        "description",
        "enum",
        "examples",
        "format",
        "items",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "properties",
        "propertyNames",
        "required",
        "title",
        "type",
        "writeOnly",
        "x-expected",
    ];
    fn look(schema: &serde_json::Value) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            assert!(KNOWN.contains(&key.as_str()), "{key}: {value}");
            match key.as_str() {
                "$defs" | "properties" => {
                    value.as_object().unwrap().values().for_each(look);
                }
                "items" | "additionalProperties" => look(value),
                "anyOf" => value.as_array().unwrap().iter().for_each(look),
                _ => {}
            }
        }
    }
    look(check::schema());
}
