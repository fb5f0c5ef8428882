//! What is counted, and that the manual tells of it.

use super::configured::{Configured, Origin, file, get, http, open, until};

/// What a proxy tells that has served three requests and checked a server once.
fn scraped() -> String {
    let origin = Origin::start();
    let more = format!(
        "[upstream.hub]\nservers = [\"127.0.0.1:9\"]\n[upstream.asked]\nservers = [\"{}\"]\n\
         check = {{ type = \"tcp\", interval = \"1h\" }}\n[site.shop]\nlisten = \"127.0.0.1:0\"\n\
         [[site.shop.route]]\npath = \"/\"\nupstream = \"hub\"\n",
        origin.address
    );
    let configured = Configured::start(&file(&more));
    let checked = format!(
        "risefall_server_checks_total{{upstream=\"asked\",server=\"{}\"}} 1\n",
        origin.address
    );
    until(|| {
        let (_, text) = http(configured.admin(), "GET", "/metrics", "");
        text.contains(&checked)
    });
    for _ in 0..3 {
        get(&mut open(configured.running.proxy), origin.address);
    }
    until(|| configured.status()["traffic"]["connections"] == 0);
    let (status, text) = http(configured.admin(), "GET", "/metrics", "");
    assert_eq!(status, 200);
    text
}

/// The value of one series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    line.trim().parse().unwrap()
}

#[test]
fn metrics_are_what_the_format_says_and_count_what_happened() {
    let text = scraped();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("risefall_"), "{line}");
        assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
    }
    for &(series, wanted) in COUNTED {
        let value = value(&text, series);
        assert!((value - wanted).abs() < 0.1, "{series} is {value}");
    }
    let dials = value(&text, "risefall_dials_total") + value(&text, "risefall_pool_reused_total");
    assert!((dials - 3.0).abs() < 0.1, "{dials}");
}

#[test]
fn the_manual_names_every_metric_and_no_other() {
    let text = scraped();
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let names = words.filter(|word| word.starts_with("risefall_"));
        names.map(str::to_owned).collect()
    };
    let scraped = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for line in scraped {
        let (name, kind) = line.split_once(' ').unwrap();
        let total = if kind == "counter" { "_total" } else { "" };
        let name = format!("{name}{total}");
        assert!(
            names(&manual).contains(&name),
            "{name} is not in the manual"
        );
    }
    let is_scraped = |name: &String| name.contains("memory") || names(&text).contains(name);
    let gone: Vec<_> = names(&manual)
        .into_iter()
        .filter(|name| !name.ends_with("_seconds") && !is_scraped(name))
        .collect();
    assert!(gone.is_empty(), "the manual names {gone:?}");
}

/// What is counted of that.
const COUNTED: &[(&str, f64)] = &[
    (
        "risefall_requests_total{protocol=\"http\",code=\"2xx\"}",
        3.0,
    ),
    (
        "risefall_request_duration_seconds_count{protocol=\"http\"}",
        3.0,
    ),
    (
        "risefall_request_duration_seconds_bucket{le=\"+Inf\",protocol=\"http\"}",
        3.0,
    ),
    ("risefall_sent_bytes_total", 15.0),
    ("risefall_faults_total{error=\"connection_refused\"}", 0.0),
    ("risefall_requests_in_flight", 0.0),
    (
        "risefall_server_up{upstream=\"hub\",server=\"127.0.0.1:9\"}",
        1.0,
    ),
    (
        "risefall_site_requests_total{site=\"shop\",code=\"5xx\"}",
        0.0,
    ),
    ("risefall_upstream_requests_total{upstream=\"hub\"}", 0.0),
    ("risefall_reloads_total{result=\"done\"}", 0.0),
    ("risefall_generation", 1.0),
    ("risefall_ready", 1.0),
    ("risefall_transitions_total{state=\"down\"}", 0.0),
];
