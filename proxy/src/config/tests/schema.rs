//! The schema, a validator that knows nothing else, and the types say the same.

use super::super::{Tree, check, scalar};
use super::mistakes;

#[test]
fn what_is_said_of_a_key_is_what_the_schema_tells_of_it() {
    let tls = &check::schema()["$defs"]["SiteTls"]["properties"]["listen"];
    let told = tls["description"].as_str().unwrap();
    assert!(told.starts_with("Where TLS is spoken"), "{told}");
}

#[test]
fn a_general_validator_and_the_types_say_the_same() {
    let mut options = jsonschema::options();
    for &name in FORMATS {
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

/// What a text may have to be, beside a text.
const FORMATS: &[&str] = &[
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
];
