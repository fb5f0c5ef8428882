//! What a tree comes to, and what of it cannot be.

mod whole;

use super::*;
use crate::config;
use crate::plan::files::{Cors, Files};
use crate::plan::site::Action;

/// A file with a certificate and its key beside it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let write = |name, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.pem", made.cert.pem());
        write("a.key", made.signing_key.serialize_pem());
        write("bob.password", "hunter2\nno more\n".to_owned());
        std::fs::create_dir(folder.path().join("public")).unwrap();
        Self(folder)
    }

    fn settle(&self, text: &str) -> Result<Settings, Vec<String>> {
        let path = self.0.path().join("risefall.toml");
        std::fs::write(&path, text).unwrap();
        let tree = config::load(&path, &|_| None).unwrap().finish().unwrap();
        settle(&tree).map_err(|refused| {
            let lines = refused.iter();
            lines
                .map(|one| format!("{}: {}", one.place, one.message))
                .collect()
        })
    }
}

#[test]
fn what_excludes_each_other_is_told_of() {
    let text = "\
[upstream.a]
servers = [{ weight = 2 }, { address = \"b:1\", srv = \"_a._tcp.b\" }, \"c:1\"]
check = { type = \"tcp\", path = \"/\", expect = \"204\", host = \"a\", service = \"b\" }
tls = { cert = \"a.pem\" }
[site.b]
listen = \"0.0.0.0:443\"
tls = { key = \"a.key\" }
[[site.b.route]]
path = \"/\"
exact = \"/a\"
upstream = \"a\"
respond = {}
headers = { x-a = \"b\", X-A = true }
[[site.b.route]]
";
    assert_eq!(
        Folder::new().settle(text).unwrap_err(),
        [
            "site.b.tls.cert: is missing, expected the file that belongs to key",
            "site.b.route[0].exact: there is a path already; expected one of the two",
            "site.b.route[0].headers: x-a is said twice; one of them has to go",
            "site.b.route[0].respond: there is upstream already; expected one of the two",
            "upstream.a.servers[0]: nothing is said of where it is; expected address or srv",
            "upstream.a.servers[1]: there are both address and srv; expected one of the two",
            "upstream.a.tls.key: is missing, expected the file that belongs to cert",
            "upstream.a.check.path: is of use with type = \"http\" alone",
            "upstream.a.check.host: is of use with type = \"http\" or \"grpc\" alone",
            "upstream.a.check.expect: is of use with type = \"http\" alone",
            "upstream.a.check.service: is of use with type = \"grpc\" alone",
            "site.b.route[1]: nothing is said of what becomes of these requests; expected one of \
             upstream, root, redirect, respond",
        ]
    );
}

#[test]
fn every_mistake_of_a_check_is_told_with_what_would_be_right() {
    let check = |check: &str| {
        let text = format!(
            "[forward.a]\nlisten = \"127.0.0.1:0\"\nparent = \"a\"\n\
             [upstream.a]\nservers = [\"c:1\"]\ncheck = {check}\n"
        );
        let told = Folder::new().settle(&text).err().unwrap_or_default();
        let told = told.into_iter();
        told.map(|line| line.replace("upstream.a.check.", ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        check(
            "{ type = \"http\", interval = \"5ms\", fast_interval = \"9s\", jitter = 60, \
             timeout = \"1h\", body = \"a\", body_pattern = \"b\" }"
        ),
        [
            "body_pattern: there is body already; expected one of the two",
            "interval: found 5ms, expected from 10ms to 12h",
            "fast_interval: found 9s, expected from 10ms to 5s, which is interval",
            "timeout: found 1h, expected from 1ms to 10m",
            "jitter: found 60%, expected at most 50%",
        ]
    );
    assert_eq!(
        check("{ type = \"http\", method = \"HEAD\", body = \"well\" }"),
        ["body: an answer to HEAD has no body; expected another method"]
    );
    assert_eq!(
        check("{ type = \"tcp\", send = \"PING\" }"),
        [
            "send: proves no more than a connection does; expected receive beside it, what the \
             answer begins with"
        ]
    );
    assert_eq!(
        check("{ type = \"udp\", http = \"h2\" }"),
        [
            "http: is of use with type = \"http\" alone",
            "send: is missing, expected the datagram to send, such as \"ping\"",
            "receive: is missing, expected what the answer begins with, such as \"pong\"",
        ]
    );
    let tls = "{ type = \"udp\", send = \"a\", receive = \"b\" }\ntls = true\n[site.a]\n\
               listen = \"127.0.0.1:0\"\n[[site.a.route]]\nupstream = \"a\"";
    let told = check(tls);
    let type_is_told = told.iter().any(|line| {
        line.starts_with("type: datagrams are not sent by TLS, which these servers are spoken to")
    });
    assert!(type_is_told, "{told:?}");
    let services = "s".repeat(1025);
    let told = check(&format!("{{ type = \"grpc\", service = \"{services}\" }}"));
    assert_eq!(
        told,
        ["service: service is 1025 bytes, must be from 1 to 1024"]
    );
    assert_eq!(check("{ type = \"grpc\" }"), Vec::<String>::new());
}

#[test]
fn a_status_that_is_right_is_a_number_or_a_text_as_one_likes() {
    let kind = |expect: &str| {
        let text = format!(
            "[site.a]\nlisten = \"127.0.0.1:0\"\nroute = [{{ upstream = \"a\" }}]\n\
             [upstream.a]\nservers = [\"c:1\"]\ncheck = {{ type = \"http\", expect = {expect} }}\n"
        );
        let plan = Folder::new().settle(&text).unwrap().plan;
        let upstream = plan.upstreams().next().unwrap();
        upstream.check.clone().unwrap().kind
    };
    assert_eq!(kind("200"), kind("\"200\""));
    assert_eq!(kind("[200, \"300-399\"]"), kind("[\"200\", \"300-399\"]"));
    assert_ne!(kind("204"), kind("200"));
}

#[test]
fn a_key_that_says_nothing_without_another_is_told_of_with_that() {
    let text = "\
[health]
recovery = \"open\"
max_fail_timeout = \"5m\"
[site.a]
listen = \"127.0.0.1:0\"
route = [{ upstream = \"a\" }]
[upstream.a]
servers = [\"c:1\"]
hash_by = \"path\"
queue = { timeout = \"1s\" }
group = { slow_start_from = 20 }
outliers = { slow_after = \"2s\", deviations_milli = 0, min_hosts = 4, tolerance = 7 }
retries = { attempts = 0, budget = 10, statuses = [503], body_size = \"1KiB\" }
";
    let refused = Folder::new().settle(text).unwrap_err();
    let starts = [
        "health.max_fail_timeout: is of use with recovery = \"probe\" alone; expected ",
        "upstream.a.hash_by: is of use with balance = \"hash\" alone; expected ",
        "upstream.a.queue.timeout: is of use with length alone; expected length = ",
        "upstream.a.retries.budget: is of use with attempts alone; expected attempts = ",
        "upstream.a.retries.statuses: is of use with attempts alone; expected attempts = ",
        "upstream.a.retries.body_size: is of use with attempts, or by HTTP/2, alone; expected ",
        "upstream.a.group.slow_start_from: is of use with slow_start alone; expected slow_start = ",
        "upstream.a.outliers.min_hosts: is of use with deviations_milli alone; expected ",
        "upstream.a.outliers.tolerance: is of use with deviations_milli alone; expected ",
        "upstream.a.outliers.slow_after: is of use with slow alone; expected slow = ",
    ];
    assert_eq!(refused.len(), starts.len(), "{refused:?}");
    for (line, start) in refused.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    let with_them = text
        .replace("\"open\"", "\"probe\"")
        .replace("hash_by", "balance = \"hash\"\nhash_by")
        .replace("timeout = \"1s\"", "timeout = \"1s\", length = 3")
        .replace("slow_start_from", "slow_start = \"9s\", slow_start_from")
        .replace("slow_after", "slow = 50, slow_after")
        .replace("deviations_milli = 0", "deviations_milli = 1")
        .replace("attempts = 0", "attempts = 1");
    let plan = Folder::new().settle(&with_them).unwrap().plan;
    let retries = &plan.upstreams().next().unwrap().retries;
    assert_eq!((retries.budget_percent, retries.body_bytes), (10, 1024));
}

#[test]
fn a_file_of_tls_that_cannot_be_read_is_told_at_its_place() {
    let text = "\
[upstream.a]
servers = [\"c:1\"]
tls = { roots = \"none.pem\" }
[site.b]
listen = \"0.0.0.0:443\"
tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }, { cert = \"no.pem\", key = \"a.key\" }] }
route = [{ upstream = \"a\" }]
[site.c]
listen = \"0.0.0.0:444\"
tls = { cert = \"no.pem\", key = \"a.key\" }
route = [{ upstream = \"a\" }]
[site.d]
listen = \"0.0.0.0:445\"
tls = {}
route = [{ upstream = \"a\" }]
";
    let refused = Folder::new().settle(text).unwrap_err();
    let places = refused.iter().map(|line| line.split(": ").next().unwrap());
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            "site.b.tls.certificates[1].cert",
            "site.c.tls.cert",
            "upstream.a.tls",
            "site.d.tls",
        ]
    );
    assert!(refused[0].contains("no.pem"), "{}", refused[0]);
}

#[test]
fn a_folder_or_a_password_that_cannot_be_read_is_told_at_its_place() {
    let text = "\
[site.a]
listen = \"127.0.0.1:0\"
[[site.a.route]]
root = \"nowhere\"
users = { alice = { file = \"no.password\" }, bob = { file = \"bob.password\" } }
[[site.a.route]]
path = \"/b\"
root = \"a.pem\"
[[site.a.route]]
path = \"/c\"
respond = {}
files = {}
[[site.a.route]]
path = \"/d\"
root = \"public\"
upstream = \"api\"
host = \"a\"
";
    let refused = Folder::new().settle(text).unwrap_err();
    let places = refused.iter().map(|line| line.split(": ").next().unwrap());
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            "site.a.route[0].root",
            "site.a.route[0].users.alice",
            "site.a.route[1].root",
            "site.a.route[2].files",
            "site.a.route[3].root",
            "site.a.route[3].upstream",
        ]
    );
    for (line, parts) in refused.iter().zip([
        ["/nowhere", "No such file"],
        ["no.password", "No such file"],
        ["/a.pem", "Not a directory"],
        ["root alone", "root = "],
        ["upstream already", "one of the two"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}

#[test]
fn a_folder_is_shown_as_usual_unless_said_otherwise() {
    let folder = Folder::new();
    let text = "[site.a]\nlisten = \"127.0.0.1:0\"\n[[site.a.route]]\nroot = \"public\"\n";
    let plan = folder.settle(text).unwrap().plan;
    let route = plan.sites().next().unwrap().routes().next().unwrap();
    let root = folder.0.path().join("public");
    assert!(matches!(&route.action, Action::Files(files) if **files == Files::of(root)));
    assert!(route.users.is_empty());
    let none = format!("{text}files = {{ cors = false }}\n");
    let none = folder.settle(&none).unwrap().plan;
    let none = none.sites().next().unwrap().routes().next().unwrap();
    assert!(matches!(&none.action, Action::Files(files) if files.cors == Cors::Off));
    let all = "[site.a.route.files]\ncache_control = \"no-cache\"\ncors = true\n";
    let plan = folder.settle(&format!("{text}{all}")).unwrap().plan;
    let route = plan.sites().next().unwrap().routes().next().unwrap();
    let Action::Files(files) = &route.action else {
        panic!("{:?}", route.action);
    };
    let [(pattern, value)] = &files.cache_control[..] else {
        panic!("{:?}", files.cache_control);
    };
    assert!(pattern.matches("a") && pattern.matches("a/b.c") && value == "no-cache");
    assert_eq!(files.cors, Cors::Any);
}

#[test]
fn users_are_some_or_are_not_asked_for() {
    let site = "[site.a]\nlisten = \"127.0.0.1:0\"\n[[site.a.route]]\nrespond = {}\n";
    let told = Folder::new().settle(&format!("{site}users = {{}}\n"));
    let told = told.map(|_| ()).unwrap_err();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("found no user, expected at least one"),
        "{told:?}"
    );
    assert!(Folder::new().settle(site).is_ok());
}
