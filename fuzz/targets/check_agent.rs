//! What a server says of itself: the same in capitals, and the same when it is said again in the
//! words that it was understood as.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall::check::AgentReport;

fuzz_target!(|text: &str| {
    let Ok(report) = text.parse::<AgentReport>() else {
        return;
    };
    assert!(report.weight_percent.is_none_or(|weight| weight <= 100));
    assert!(
        report
            .reason
            .as_ref()
            .is_none_or(|reason| reason.chars().count() <= 200)
    );
    let words = text.split('#').next().unwrap();
    let plain = read(words);
    assert_eq!(plain.reason, None);
    assert_eq!(read(&words.to_ascii_uppercase()), plain);
    assert_eq!(read(&again(&report)), plain);
});

fn read(words: &str) -> AgentReport {
    words.parse().unwrap()
}

fn again(report: &AgentReport) -> String {
    let weight = report.weight_percent.map(|weight| format!("{weight}%"));
    let state = report.availability.map(|state| state.name().to_owned());
    let down = report
        .is_down
        .map(|down| if down { "down" } else { "up" }.to_owned());
    let words: Vec<_> = [weight, state, down].into_iter().flatten().collect();
    words.join(", ")
}
