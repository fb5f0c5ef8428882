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

[stream.postgres]
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
        "13:2: stream: is not yet available in risefall 0.1.0",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("risefall.toml:{line}"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_mistake_in_a_site_is_told_at_its_place() {
    let text = "\
[site.shop]
hosts = [\"shop.example.com:80\", \"a.*.example.com\"]
tls = { cert = \"a.pem\", min_version = \"1.1\" }
trusted = [\"10.0.0.0/33\"]
[[site.shop.route]]
path = \"api\"
methods = [\"get\"]
headers = { \"x a\" = \"b\", x-b = false, x-c = \"d\\n\" }
root = \"\"
request_headers = { set = { content-length = \"3\", authorization = \"hunter2\\n\" }, remove = [\"host\"] }
[[site.shop.route]]
redirect = { to = \"//evil.example\", status = 305 }
respond = { status = 99 }
body_limit = 10
";
    let found = mistakes(text);
    let expected = [
        "2:10: site.shop.hosts[0]: found \"shop.example.com:80\", expected a host such as \
         shop.example.com, or *.example.com for every name one label below, without a port",
        "2:33: site.shop.hosts[1]: found \"a.*.example.com\", expected a host such as \
         shop.example.com, or *.example.com for every name one label below, without a port",
        "3:39: site.shop.tls.min_version: found \"1.1\", expected 1.2, 1.3",
        "4:12: site.shop.trusted[0]: found \"10.0.0.0/33\", expected a range such as \
         192.168.1.0/24, or an address",
        "6:8: site.shop.route[0].path: found \"api\", expected a path such as /api, without a \
         query, . or .. as a segment, and escapes of what needs none",
        "7:12: site.shop.route[0].methods[0]: found \"get\", expected a method such as GET or \
         POST, in capitals",
        "8:13: site.shop.route[0].headers: found \"x a\", expected the name of a field, such as \
         x-version",
        "8:32: site.shop.route[0].headers.x-b: found false, expected true",
        "8:45: site.shop.route[0].headers.x-c: found \"d\\n\", expected the value of a field: \
         printable ASCII, no space at its ends",
        "9:8: site.shop.route[0].root: found \"\", expected a path, relative to this file",
        "10:29: site.shop.route[0].request_headers.set: found \"content-length\", which belongs to \
         the connection and not to the message; expected another",
        "10:67: site.shop.route[0].request_headers.set.authorization: found a text, expected the \
         value of a field: printable ASCII, no space at its ends",
        "10:92: site.shop.route[0].request_headers.remove[0]: found \"host\", expected another: \
         the key `host` of the route is for that",
        "12:19: site.shop.route[1].redirect.to: found \"//evil.example\", expected a path, or a \
         URI of http or https, in which {scheme}, {host}, {path} and {query} may stand, such as \
         https://{host}{path}{query}",
        "12:46: site.shop.route[1].redirect.status: found 305, expected 301, 302, 303, 307 or 308",
        "13:22: site.shop.route[1].respond.status: found 99, expected a whole number from 200 to \
         599",
        "14:14: site.shop.route[1].body_limit: found 10, expected a size such as 64KiB or 1GiB",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("risefall.toml:{line}"))
        .collect();
    assert_eq!(found, expected);
    let shown = loaded(text).finish().unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_mistake_in_how_files_are_shown_is_told_at_its_place() {
    let text = "\
[[site.a.route]]
root = \"/srv\"
files = { index = [\"a/b\"], try_files = [], links = \"outside\", listings = true }
users = { \"a:b\" = \"hunter2\", bob = 12345, eve = { file = 67890 } }
[[site.a.route]]
root = \"/srv\"
[site.a.route.files]
try_files = [\"path\", \"{path}{path}\", \"/a/{path}\"]
types = { \".md\" = \"text/markdown\", md = \"markdown\" }
cache_control = [{ files = \"/a\", value = \"b\" }, { files = \"[\", value = \"\" }, { value = \"c\" }]
error_pages = { 200 = \"/a.html\", 404 = \"a.html\" }
cors = [\"*\"]
[site.a.route.users]
alice = \"\"
[[site.a.route]]
files = { cache_control = 3, cors = \"*\" }
";
    let found = mistakes(text);
    let expected = [
        "3:20: site.a.route[0].files.index[0]: found \"a/b\", expected the name of a file, without \
         a folder, such as index.html",
        "3:40: site.a.route[0].files.try_files: found an empty list, expected at least one",
        "3:52: site.a.route[0].files.links: found \"outside\", expected inside, all, off",
        "3:63: site.a.route[0].files.listings: there is no such key; expected one of \
         cache_control, compress, cors, error_pages, hidden, index, links, listing, \
         precompressed, try_files, types",
        "4:11: site.a.route[0].users: found \"a:b\", expected the name of a user, without a colon, \
         such as alice",
        "4:36: site.a.route[0].users.bob: found a number, expected a text, best from the \
         environment: \"${NAME}\", or { file = PATH }",
        "4:58: site.a.route[0].users.eve.file: found a number, expected a path, relative to this \
         file",
        "8:14: site.a.route[1].files.try_files[0]: found \"path\", expected a path below root that \
         begins with / or {path}, such as {path}, {path}.html, {path}/, /old{path} or /index.html",
        "8:22: site.a.route[1].files.try_files[1]: found \"{path}{path}\", expected a path below \
         root that begins with / or {path}, such as {path}, {path}.html, {path}/, /old{path} or \
         /index.html",
        "8:38: site.a.route[1].files.try_files[2]: found \"/a/{path}\": {path} begins with a / of \
         its own; expected none before it",
        "9:11: site.a.route[1].files.types: found \".md\", expected an extension in lower case, \
         without a dot, such as md",
        "9:41: site.a.route[1].files.types.md: found \"markdown\", expected a type such as \
         text/plain, or text/plain; charset=utf-8",
        "10:28: site.a.route[1].files.cache_control[0].files: found \"/a\", expected a pattern of \
         files below root, without a slash in front, such as *.html or assets/**",
        "10:59: site.a.route[1].files.cache_control[1].files: found \"[\" (invalid range pattern, \
         character 0), expected a pattern of files below root, without a slash in front, such as \
         *.html or assets/**",
        "10:72: site.a.route[1].files.cache_control[1].value: found \"\", expected the value of a \
         field: printable ASCII, no space at its ends",
        "10:78: site.a.route[1].files.cache_control[2].files: is missing, expected a pattern of \
         files below root, without a slash in front, such as *.html or assets/**",
        "11:17: site.a.route[1].files.error_pages: found \"200\", expected one of 403, 404, 405, 412 and 416",
        "11:40: site.a.route[1].files.error_pages.404: found \"a.html\", expected the path of a \
         file below root, such as /404.html, as it stands in a URL",
        "12:9: site.a.route[1].files.cors[0]: found \"*\", expected an origin such as \
         https://app.example.com, in lower case and without a path; `cors = true` is for all",
        "14:9: site.a.route[1].users.alice: found an empty text, expected the secret \
         itself, best from the environment: \"${NAME}\"",
        "16:27: site.a.route[2].files.cache_control: found 3, expected the value of a field: \
         printable ASCII, no space at its ends, or a list of these: { files = PATTERN, value = \
         VALUE }",
        "16:37: site.a.route[2].files.cors: found \"*\", expected true or false, or a list of \
         these: an origin such as https://app.example.com, in lower case and without a path; \
         `cors = true` is for all",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("risefall.toml:{line}"))
        .collect();
    assert_eq!(found, expected);
    let shown = loaded(text).finish().unwrap_err().to_string();
    for secret in ["hunter2", "12345", "67890"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_mistake_in_how_servers_are_asked_is_told_at_its_place() {
    let found = mistakes(
        "\
[upstream.api]
servers = [{ srv = \"_http._tcp.a:80\" }]
hash_by = \"header\"
statuses = [200]
http = \"h3\"
tls = false
tunnel = \"web\"
retries = { budget = \"120%\", attempts = 11 }
sticky = { max_age = \"1h\" }
check = { type = \"http\", expect = [\"2xx\"], path = \"healthz\", fall = 0 }
",
    );
    let expected = [
        "2:20: upstream.api.servers[0].srv: found \"_http._tcp.a:80\", expected the name of SRV \
         records, without a port, such as _http._tcp.example.com",
        "3:11: upstream.api.hash_by: found \"header\", expected client, target, path, header:NAME \
         or cookie:NAME",
        "4:13: upstream.api.statuses[0]: found 200, expected a whole number from 400 to 599",
        "5:8: upstream.api.http: found \"h3\", expected auto, h1, h2",
        "6:7: upstream.api.tls: found false, expected true",
        "7:1: upstream.api.tunnel: is not yet available in risefall 0.1.0",
        "8:22: upstream.api.retries.budget: found \"120%\", expected a part such as 20%, at most \
         100%",
        "8:41: upstream.api.retries.attempts: found 11, expected a whole number from 0 to 10",
        "9:10: upstream.api.sticky.cookie: is missing, expected the name of a cookie, such as \
         session",
        "10:36: upstream.api.check.expect[0]: found \"2xx\", expected statuses such as 200-399, or \
         one such as 204",
        "10:51: upstream.api.check.path: found \"healthz\", expected a path that begins with /, \
         such as /healthz or /healthz?full",
        "10:69: upstream.api.check.fall: found 0, expected a whole number from 1 to 255",
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("risefall.toml:{line}"))
        .collect();
    assert_eq!(found, expected);
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
        "[[site.a.route]]\nusers = { alice = \"hunter2\", bob = 3 }\n",
        "[[site.a.route]]\nusers.alice = [\"hunter2\"]\n",
        "[[site.a.route]]\n[site.a.route.users]\nalice = \"hunter2\" x\n",
        "[[site.a.route]]\n[site.a.route.users]\nalice = [\"hunter2\"]\n",
    ] {
        let shown = loaded(text).finish().unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_is_shown_in_the_place_of_a_secret_is_none() {
    for (text, place) in [
        ("[admin]\ntoken = \"<hidden>\"\n", "2:9: admin.token: "),
        (
            "[[site.a.route]]\nusers = { alice = \"<hidden>\" }\n",
            "site.a.route[0].users.alice: ",
        ),
        (
            "[[site.a.route]]\nrequest_headers = { set = { authorization = \"<hidden>\" } }\n",
            "site.a.route[0].request_headers.set.authorization: ",
        ),
        (
            "[[site.a.route]]\n[site.a.route.response_headers.add]\nSet-Cookie = \"<hidden>\"\n",
            "3:14: site.a.route[0].response_headers.add.Set-Cookie: ",
        ),
        (
            "[upstream.a]\nservers = [\"a:1\"]\ncheck = { headers = { x-api-key = \"<hidden>\" } }\n",
            "upstream.a.check.headers.x-api-key: ",
        ),
    ] {
        let told = loaded(text).finish().unwrap_err().to_string();
        assert!(told.contains(place), "{told}");
        let message = "found \"<hidden>\", which is shown in the place of a secret";
        assert!(told.contains(message), "{told}");
    }
    // What nothing hides may be called so.
    for text in [
        "[[site.a.route]]\nrequest_headers = { set = { x-a = \"<hidden>\" } }\n",
        "[[site.a.route]]\nheaders = { authorization = \"<hidden>\" }\n",
    ] {
        assert_eq!(mistakes(text), [""; 0], "{text}");
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
fn what_is_said_of_a_key_is_what_the_schema_tells_of_it() {
    let tls = &check::schema()["$defs"]["SiteTls"]["properties"]["listen"];
    let told = tls["description"].as_str().unwrap();
    assert!(told.starts_with("Where TLS is spoken"), "{told}");
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
    "[upstream.a]\nservers = [{ srv = \"_a._tcp.b\" }]\ntls = true\nhttp = \"h1\"",
    "[upstream.a]\nservers = [\"a:1\"]\ntls = false",
    "[upstream.a]\nservers = [\"a:1\"]\ntls = { roots = \"a.pem\", name = \"b\" }\nstatuses = [500]",
    "[upstream.a]\nservers = [\"a:1\"]\nstatuses = [200]",
    "[upstream.a]\nservers = [\"a:1\"]\nretries = { budget = \"5%\" }\nqueue = { length = 3 }",
    "[upstream.a]\nservers = [\"a:1\"]\nretries = { budget = 101 }",
    "[upstream.a]\nservers = [\"a:1\"]\nsticky = {}",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"tcp\", expect = \"204\" }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"http\", expect = 200 }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"http\", expect = [200, \"300-399\"] }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"http\", expect = 600 }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"http\", expect = [99] }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { path = \"/\" }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"grpc\", service = \"shop.Cart\" }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"udp\", send = 'ping\\n', receive = \"pong\" }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"tcp\", receive = '\\q' }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"http\", body_pattern = \"(\" }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"http\", jitter = 5, start = \"down\", http = \"h2\" }",
    "[upstream.a]\nservers = [\"a:1\"]\ncheck = { type = \"tls\" }",
    "[limits]\nchecks = 0",
    "[upstream.a]\nservers = [\"a:1\"]\nhash_by = \"header:x-a\"",
    "[upstream.a]\nservers = [\"a:1\"]\nhash_by = \"header:\"",
    "[site.a]\nlisten = \"0.0.0.0:80\"\nhosts = [\"*.a.b\"]\nh2c = true",
    "[site.a]\nhosts = [\"*\"]",
    "[site.a]\ntls = { cert = \"a\", key = \"b\", min_version = \"1.3\", redirect = false }",
    "[site.a]\ntls = { min_version = \"1.1\" }",
    "[site.a]\ntls = { certificates = [{ cert = \"a\" }] }",
    "[[site.a.route]]\nredirect = { to = \"/\", status = 302 }",
    "[[site.a.route]]\nredirect = { to = \"/\", status = 304 }",
    "[[site.a.route]]\nredirect = { status = 301 }",
    "[[site.a.route]]\nrespond = {}\nheaders = { x-a = true, x-b = \"c\" }\nquery = { \"a b\" = \"\" }",
    "[[site.a.route]]\nheaders = { x-a = false }",
    "[[site.a.route]]\nheaders = { \"x a\" = true }",
    "[[site.a.route]]\nquery = { \"\" = true }",
    "[[site.a.route]]\nrequest_headers = { set = { x-a = \"b\" }, remove = [\"x-c\"] }",
    "[[site.a.route]]\nrequest_headers = { set = { connection = \"b\" } }",
    "[[site.a.route]]\nresponse_headers = { remove = [\"te\"] }",
    "[[site.a.route]]\nmethods = [\"GET\"]\nbody_limit = \"1KiB\"\nhost = \"a:80\"",
    "[[site.a.route]]\nstrip_prefix = \"a\"",
    "[[site.a.route]]\nroot = \"/srv\"\nfiles = { cors = true, cache_control = \"no-cache\" }",
    "[[site.a.route]]\nroot = \"/srv\"\nfiles = { cors = false }",
    "[[site.a.route]]\nroot = \"/srv\"\nfiles = { cors = [] }",
    "[[site.a.route]]\nroot = \"\"",
    "[[site.a.route]]\nfiles = { cors = [\"https://a.example\"], cache_control = [] }",
    "[[site.a.route]]\nfiles = { cache_control = [{ files = \"*\", value = \"no-cache\" }] }",
    "[[site.a.route]]\nfiles = { cache_control = [{ files = \"*\" }] }",
    "[[site.a.route]]\nfiles = { try_files = [\"{path}\", \"/index.html\"], index = [] }",
    "[[site.a.route]]\nfiles = { try_files = [] }",
    "[[site.a.route]]\nfiles = { types = { md = \"text/markdown\" }, links = \"all\" }",
    "[[site.a.route]]\nfiles = { types = { MD = \"text/markdown\" } }",
    "[[site.a.route]]\nfiles = { error_pages = { 404 = \"/a.html\" } }",
    "[[site.a.route]]\nfiles = { error_pages = { 99 = \"/a.html\" } }",
    "[[site.a.route]]\nusers = { alice = \"a\", bob = { file = \"b\" } }",
    "[[site.a.route]]\nusers = { alice = \"\" }",
    "[[site.a.route]]\nusers = { alice = {} }",
    "[[site.a.route]]\nusers = { \"a:b\" = \"c\" }",
    "[limits]\nfile_cache = \"0B\"",
    "[limits]\nfile_cache = 0",
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
        "field-name",
        "own-field-name",
        "field-value",
        "method",
        "route-path",
        "request-path",
        "location",
        "statuses",
        "percent",
        "host",
        "hash-by",
        "cookie-name",
        "service",
        "authority",
        "certificate-name",
        "parameter",
        "bytes",
        "pattern",
        "user-name",
        "file-name",
        "file-path",
        "try-file",
        "file-pattern",
        "extension",
        "media-type",
        "error-status",
        "origin",
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
