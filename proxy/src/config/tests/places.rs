//! Every mistake is told at its place, with what was found and what would be right.

use super::{assert_told, shown};

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
    assert_told(text, &expected);
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
    assert_told(text, &expected);
    let shown = shown(text);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_mistake_in_how_files_are_shown_is_told_at_its_place() {
    let text = "\
[[site.a.route]]
root = \"/srv\"
files = { index = [\"a/b\"], try_files = [], links = \"outside\", listings = true }
[[site.a.route]]
root = \"/srv\"
[site.a.route.files]
try_files = [\"path\", \"{path}{path}\", \"/a/{path}\"]
types = { \".md\" = \"text/markdown\", md = \"markdown\" }
cache_control = [{ files = \"/a\", value = \"b\" }, { files = \"[\", value = \"\" }, { value = \"c\" }]
error_pages = { 200 = \"/a.html\", 404 = \"a.html\" }
cors = [\"*\"]
[[site.a.route]]
files = { cache_control = 3, cors = \"*\" }
";
    let expected = [
        "3:20: site.a.route[0].files.index[0]: found \"a/b\", expected the name of a file, without \
         a folder, such as index.html",
        "3:40: site.a.route[0].files.try_files: found an empty list, expected at least one",
        "3:52: site.a.route[0].files.links: found \"outside\", expected inside, all, off",
        "3:63: site.a.route[0].files.listings: there is no such key; expected one of \
         cache_control, compress, cors, error_pages, hidden, index, links, listing, \
         precompressed, try_files, types",
        "7:14: site.a.route[1].files.try_files[0]: found \"path\", expected a path below root that \
         begins with / or {path}, such as {path}, {path}.html, {path}/, /old{path} or /index.html",
        "7:22: site.a.route[1].files.try_files[1]: found \"{path}{path}\", expected a path below \
         root that begins with / or {path}, such as {path}, {path}.html, {path}/, /old{path} or \
         /index.html",
        "7:38: site.a.route[1].files.try_files[2]: found \"/a/{path}\": {path} begins with a / of \
         its own; expected none before it",
        "8:11: site.a.route[1].files.types: found \".md\", expected an extension in lower case, \
         without a dot, such as md",
        "8:41: site.a.route[1].files.types.md: found \"markdown\", expected a type such as \
         text/plain, or text/plain; charset=utf-8",
        "9:28: site.a.route[1].files.cache_control[0].files: found \"/a\", expected a pattern of \
         files below root, without a slash in front, such as *.html or assets/**",
        "9:59: site.a.route[1].files.cache_control[1].files: found \"[\" (invalid range pattern, \
         character 0), expected a pattern of files below root, without a slash in front, such as \
         *.html or assets/**",
        "9:72: site.a.route[1].files.cache_control[1].value: found \"\", expected the value of a \
         field: printable ASCII, no space at its ends",
        "9:78: site.a.route[1].files.cache_control[2].files: is missing, expected a pattern of \
         files below root, without a slash in front, such as *.html or assets/**",
        "10:17: site.a.route[1].files.error_pages: found \"200\", expected one of 403, 404, 405, 412 and 416",
        "10:40: site.a.route[1].files.error_pages.404: found \"a.html\", expected the path of a \
         file below root, such as /404.html, as it stands in a URL",
        "11:9: site.a.route[1].files.cors[0]: found \"*\", expected an origin such as \
         https://app.example.com, in lower case and without a path; `cors = true` is for all",
        "13:27: site.a.route[2].files.cache_control: found 3, expected the value of a field: \
         printable ASCII, no space at its ends, or a list of these: { files = PATTERN, value = \
         VALUE }",
        "13:37: site.a.route[2].files.cors: found \"*\", expected true or false, or a list of \
         these: an origin such as https://app.example.com, in lower case and without a path; \
         `cors = true` is for all",
    ];
    assert_told(text, &expected);
}

#[test]
fn a_mistake_in_the_users_is_told_at_its_place_without_their_passwords() {
    let text = "\
[[site.a.route]]
users = { \"a:b\" = \"hunter2\", bob = 12345, eve = { file = 67890 } }
[[site.a.route]]
[site.a.route.users]
alice = \"\"
";
    let expected = [
        "2:11: site.a.route[0].users: found \"a:b\", expected the name of a user, without a colon, \
         such as alice",
        "2:36: site.a.route[0].users.bob: found a number, expected a text, best from the \
         environment: \"${NAME}\", or { file = PATH }",
        "2:58: site.a.route[0].users.eve.file: found a number, expected a path, relative to this \
         file",
        "5:9: site.a.route[1].users.alice: found an empty text, expected the secret \
         itself, best from the environment: \"${NAME}\"",
    ];
    assert_told(text, &expected);
    let shown = shown(text);
    for secret in ["hunter2", "12345", "67890"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_mistake_in_how_servers_are_asked_is_told_at_its_place() {
    let text = "\
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
";
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
    assert_told(text, &expected);
}
