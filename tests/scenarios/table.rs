//! The figures as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::run::{Back, Figures};
use crate::scenario::Scenario;

/// The figures of one scenario, in the order of the models.
pub(crate) struct Story {
    pub(crate) scenario: Scenario,
    pub(crate) figures: Vec<(&'static str, Figures)>,
}

/// All of it: what clients met, then each scenario.
pub(crate) fn markdown(stories: &[Story]) -> String {
    let mut text = String::from("| lost / held |");
    for (name, _) in &stories[0].figures {
        write!(text, " {name} |").unwrap();
    }
    text.push_str("\n|---|");
    text.push_str(&"--:|".repeat(stories[0].figures.len()));
    for Story { scenario, figures } in stories {
        write!(text, "\n| {} |", scenario.name.to_lowercase()).unwrap();
        for (_, figures) in figures {
            write!(
                text,
                " {} / {} |",
                number(figures.lost),
                number(figures.held)
            )
            .unwrap();
        }
    }
    for Story { scenario, figures } in stories {
        write!(text, "\n\n### {}\n\n{}\n\n", scenario.name, scenario.text).unwrap();
        text.push_str("| | found after | lost | held | in vain (in 1 s) | back after | in use |\n");
        text.push_str("|---|--:|--:|--:|--:|--:|--:|");
        for (name, figures) in figures {
            write!(text, "\n{}", row(name, figures)).unwrap();
        }
    }
    text.push('\n');
    text
}

fn row(name: &str, figures: &Figures) -> String {
    let found = figures.found_after.map_or("never".to_owned(), time);
    let back = match figures.back_after {
        Back::Never => "-".to_owned(),
        Back::After(after) => time(after),
        Back::Later(than) => format!("> {}", time(than)),
    };
    let in_vain = match figures.in_vain {
        0 => "0".to_owned(),
        count => format!("{} ({})", number(count as u64), figures.in_vain_at_once),
    };
    let (lost, held) = (number(figures.lost), number(figures.held));
    format!(
        "| {name} | {found} | {lost} | {held} | {in_vain} | {back} | {} |",
        figures.fewest
    )
}

/// `0.03 s`, `4.6 s`, `117 s`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..1.0 => format!("{seconds:.2} s"),
        1.0..10.0 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// With a space between thousands that no line is broken at.
fn number(count: u64) -> String {
    match count / 1000 {
        0 => count.to_string(),
        thousands => format!("{thousands}&nbsp;{:03}", count % 1000),
    }
}
