//! What the page says in words.

use std::time::Duration;

use crate::run::{Back, Figures};
use crate::{MODELS, figures, scenario};

const OURS: [&str; 2] = ["risefall", "risefall, checks"];
/// What no balancer can help with: nobody can answer.
const HELPLESS: [&str; 2] = ["All down", "Shared cause"];

fn names() -> impl Iterator<Item = &'static str> {
    scenario::all().into_iter().map(|scenario| scenario.name)
}

fn back(figures: &Figures) -> Duration {
    match figures.back_after {
        Back::After(after) | Back::Later(after) => after,
        Back::Never => Duration::ZERO,
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn no_request_of_ours_is_lost_where_somebody_can_answer() {
    for name in names().filter(|name| !HELPLESS.contains(name)) {
        for model in OURS {
            assert_eq!(figures(name, model).lost, 0, "{name}, {model}");
        }
    }
}

#[test]
fn none_is_held_up_but_by_a_slow_server() {
    for name in names().filter(|name| *name != "Slow") {
        for model in OURS {
            assert_eq!(figures(name, model).held, 0, "{name}, {model}");
        }
    }
}

#[test]
fn every_other_model_loses_or_holds_some_in_a_black_hole() {
    for (model, _) in &MODELS[2..] {
        let figures = figures("Black hole", model);
        assert!(figures.lost + figures.held > 0, "{model}");
    }
}

#[test]
fn a_black_hole_is_found_sooner_than_by_others() {
    for model in OURS {
        assert!(figures("Black hole", model).found_after.unwrap() < Duration::from_millis(200));
    }
    for (model, _) in &MODELS[2..] {
        let found = figures("Black hole", model).found_after;
        assert!(found.is_none_or(|found| found >= seconds(5)), "{model}");
    }
}

#[test]
fn a_server_that_has_been_found_out_costs_one_request_at_a_time() {
    for name in [
        "Refuse",
        "Black hole",
        "Reset",
        "Clock jump",
        "Herd at recovery",
    ] {
        for model in OURS {
            assert!(figures(name, model).in_vain_at_once <= 1, "{name}, {model}");
        }
    }
}

#[test]
fn one_that_flaps_is_found_out_again_by_three() {
    assert_eq!(figures("Flap", "risefall, checks").in_vain_at_once, 3);
    assert_eq!(figures("Flap", "risefall").in_vain, 0);
}

#[test]
fn linkerd_loses_or_holds_three_in_a_black_hole() {
    let figures = figures("Black hole", "Linkerd");
    assert_eq!(figures.lost + figures.held, 3);
}

#[test]
fn without_checks_ours_is_the_slowest_to_take_a_server_back() {
    for name in [
        "Refuse",
        "Black hole",
        "Reset",
        "Half of the pool down",
        "All down",
    ] {
        let ours = back(figures(name, "risefall"));
        for (model, _) in &MODELS[2..] {
            assert!(ours > back(figures(name, model)), "{name}, {model}");
        }
    }
    assert!(back(figures("Black hole", "risefall")) > seconds(60));
}

#[test]
fn with_checks_dials_that_failed_are_forgiven_within_seconds_and_answers_are_not() {
    for name in [
        "Refuse",
        "Black hole",
        "Half of the pool down",
        "All down",
        "Rolling restart",
    ] {
        let back = back(figures(name, "risefall, checks"));
        assert!(back < seconds(7), "{name}: {back:?}");
    }
    assert!(back(figures("Reset", "risefall, checks")) > seconds(20));
}

#[test]
fn without_checks_a_rolling_restart_leaves_few_servers() {
    assert!(figures("Rolling restart", "risefall").fewest <= 3);
    assert!(figures("Rolling restart", "risefall, checks").fewest >= 8);
    assert!(figures("Rolling restart", "nginx").fewest >= 8);
}

#[test]
fn a_slow_server_is_found_by_checks_alone_and_linkerd_passes_it_by() {
    assert_eq!(figures("Slow", "risefall").found_after, None);
    assert!(figures("Slow", "risefall").held > 500);
    assert!(figures("Slow", "risefall, checks").held > figures("Slow", "HAProxy").held);
    assert!(figures("Slow", "Linkerd").held < 10);
}

#[test]
fn the_wall_clock_moves_nginx_alone() {
    for (model, _) in MODELS {
        let is_same = figures("Clock jump", model) == figures("Refuse", model);
        assert_eq!(is_same, model != "nginx", "{model}");
    }
    assert!(matches!(
        figures("Clock jump", "nginx").back_after,
        Back::Later(_)
    ));
}

#[test]
fn of_a_total_outage_ours_loses_what_it_takes_and_nothing_after_it() {
    let least = figures("All down", "Envoy").lost;
    for model in OURS {
        assert_eq!(figures("All down", model).lost, least, "{model}");
    }
    assert!(figures("All down", "nginx").lost > least + 300);
}

#[test]
fn a_shared_cause_takes_out_half_of_ours_at_the_most() {
    assert!(figures("Shared cause", "risefall").fewest >= 5);
    // As many as nginx, which takes out nobody, within the chance of who is sick when.
    let least = figures("Shared cause", "nginx").lost;
    assert!(figures("Shared cause", "Envoy, retries").lost < least);
    for model in OURS {
        assert!(
            figures("Shared cause", model).lost.abs_diff(least) < 50,
            "{model}"
        );
        assert!(
            back(figures("Shared cause", model)) < seconds(40),
            "{model}"
        );
    }
}
