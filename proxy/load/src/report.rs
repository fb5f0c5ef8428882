//! What `run` found, as a table or as JSON: one set of numbers, two ways to show it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    args::RunPlan,
    error::RunError,
    outcome::Outcome,
    tally::{ClassTally, Tally},
};

/// The numbers of a run. Field names are the keys in JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    proxy: String,
    mode: &'static str,
    connections: usize,
    threads: usize,
    duration_s: f64,
    dead_share_percent: u8,
    /// Units per second asked for; absent in a closed loop.
    rate: Option<u32>,
    live: Row,
    dead: Row,
    /// Units that were due, and found every connection busy until the end.
    not_started: u64,
    /// The busiest loader thread.
    loader_busy_percent: u64,
}

/// The numbers of one class of targets.
#[derive(Clone, Debug, Serialize)]
struct Row {
    units: u64,
    /// Counts only what ended inside the window.
    units_per_second: f64,
    /// Units that ended after the window.
    ended_late: u64,
    /// Absent when no unit is covered by it.
    latency_us: Option<Latency>,
    #[serde(serialize_with = "outcomes_by_key")]
    outcomes: Vec<(Outcome, u64)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Latency {
    /// How many units the percentiles cover.
    samples: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Report {
    pub(crate) fn new(plan: &RunPlan, tally: &Tally, not_started: u64, busy_percent: u64) -> Self {
        let duration_s = plan.duration.as_secs_f64();
        Self {
            proxy: plan.proxy.to_string(),
            mode: plan.mode.name(),
            connections: plan.connections,
            threads: plan.threads,
            duration_s,
            dead_share_percent: plan.dead_share,
            rate: plan.rate.map(std::num::NonZero::get),
            live: Row::new(&tally.live, duration_s),
            dead: Row::new(&tally.dead, duration_s),
            not_started,
            loader_busy_percent: busy_percent,
        }
    }

    /// # Errors
    ///
    /// Live targets were tried, and not one answered.
    pub(crate) fn verdict(&self) -> Result<(), RunError> {
        let units = self.live.units;
        if units > 0 && self.live.count(Outcome::Ok) == 0 {
            return Err(RunError::NothingSucceeded { units });
        }
        Ok(())
    }

    /// What makes the numbers mean less than they seem to.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.not_started > 0 {
            warnings.push(format!(
                "{} units were due and never started, every connection being busy: \
                 the latencies leave them out; raise --connections or lower --rate",
                self.not_started
            ));
        }
        if self.loader_busy_percent >= BUSY_PERCENT {
            warnings.push(format!(
                "a loader thread was busy {} % of the time and may be the limit: raise --threads",
                self.loader_busy_percent
            ));
        }
        let starved = self.live.count(Outcome::LoaderLimit) + self.dead.count(Outcome::LoaderLimit);
        if starved > 0 {
            warnings.push(format!(
                "{starved} units failed because this host ran out of ports or open files: \
                 lower --connections or --rate, or raise --requests-per-connection"
            ));
        }
        let odd = self.dead.count(Outcome::Ok);
        if odd > 0 {
            warnings.push(format!(
                "{odd} units to dead targets succeeded: is something listening there?"
            ));
        }
        warnings
    }
}

impl Row {
    fn new(tally: &ClassTally, duration_s: f64) -> Self {
        let units = tally.units();
        Self {
            units,
            units_per_second: (tally.in_window as f64 / duration_s * 10.0).round() / 10.0,
            ended_late: units - tally.in_window,
            latency_us: Latency::new(tally),
            outcomes: tally
                .outcomes
                .iter()
                .map(|(&outcome, &count)| (outcome, count))
                .collect(),
        }
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes
            .iter()
            .find(|(found, _)| *found == outcome)
            .map_or(0, |&(_, count)| count)
    }
}

impl Latency {
    fn new(tally: &ClassTally) -> Option<Self> {
        let histogram = &tally.latency_us;
        (!histogram.is_empty()).then(|| Self {
            samples: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} through {}: ", self.mode, self.proxy)?;
        write!(
            f,
            "connections {}, threads {}, ",
            self.connections, self.threads
        )?;
        write!(
            f,
            "{} s, {} % to dead targets, ",
            self.duration_s, self.dead_share_percent
        )?;
        match self.rate {
            Some(rate) => writeln!(f, "open loop at {rate} units/s\n")?,
            None => writeln!(f, "closed loop\n")?,
        }
        write!(f, "{:<6}{:>10}{:>10}", "", "units", "units/s")?;
        writeln!(
            f,
            "{:>11}{:>11}{:>11}{:>11}{:>11}",
            "p50", "p90", "p99", "p99.9", "max"
        )?;
        let rows = [("live", &self.live), ("dead", &self.dead)];
        let rows = || rows.iter().filter(|(_, row)| row.units > 0);
        for (name, row) in rows() {
            write_row(f, name, row)?;
        }
        for (name, row) in rows() {
            writeln!(f)?;
            let names = std::iter::once(*name).chain(std::iter::repeat(""));
            for (name, (outcome, count)) in names.zip(&row.outcomes) {
                writeln!(f, "{name:<6}{count:>10}  {}", outcome.label())?;
            }
        }
        let late = self.live.ended_late + self.dead.ended_late;
        if late > 0 {
            writeln!(
                f,
                "\n{late} units ended after the window: all but units/s counts them"
            )?;
        }
        for warning in self.warnings() {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// Outcomes as `{"name": count}`, for every report that lists them.
pub(crate) fn outcomes_by_key<S: Serializer>(
    outcomes: &[(Outcome, u64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        outcomes
            .iter()
            .map(|(outcome, count)| (outcome.key(), count)),
    )
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, row: &Row) -> fmt::Result {
    write!(
        f,
        "{name:<6}{:>10}{:>10.1}",
        row.units, row.units_per_second
    )?;
    let Some(latency) = row.latency_us else {
        return writeln!(f, "{:>11}", "-");
    };
    let columns = [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p99_9,
        latency.max,
    ];
    for micros in columns {
        write!(f, "{:>11}", readable(micros))?;
    }
    writeln!(f)
}

/// Three significant digits or more, in the unit that fits.
fn readable(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// A thread this busy delays what it measures.
const BUSY_PERCENT: u64 = 90;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use clap::Parser;

    use super::*;
    use crate::{
        args::{Args, Command},
        targets::Class,
    };

    /// Live units of 1 ms to 1000 ms and one dead one, in a window of two seconds.
    fn report(not_started: u64) -> Report {
        let line =
            "risefall-load run --proxy 127.0.0.1:1 --mode socks5 --duration 2s --live 127.0.0.1:2";
        let plan = match Args::try_parse_from(line.split(' ')).unwrap().command {
            Command::Run(args) => args.check().unwrap(),
            other => panic!("parsed as {other:?}"),
        };
        let begin = Instant::now();
        let mut tally = Tally::new(begin + plan.duration);
        for ms in 1..=1000 {
            let ended = begin + Duration::from_millis(ms);
            tally.record(Class::Live, Outcome::Ok, begin, ended);
        }
        let late = begin + Duration::from_secs(3);
        tally.record(Class::Dead, Outcome::Reply(5), begin, late);
        Report::new(&plan, &tally, not_started, 50)
    }

    fn is_near(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) <= expected / 500
    }

    #[test]
    fn percentiles_are_those_of_the_units() {
        let latency = report(0).live.latency_us.unwrap();
        assert_eq!(latency.samples, 1000);
        assert!(is_near(latency.p50, 500_000), "{latency:?}");
        assert!(is_near(latency.p90, 900_000), "{latency:?}");
        assert!(is_near(latency.p99, 990_000), "{latency:?}");
        assert!(is_near(latency.p99_9, 999_000), "{latency:?}");
        assert!(is_near(latency.max, 1_000_000), "{latency:?}");
    }

    #[test]
    fn rates_leave_out_what_ended_late() {
        let report = report(0);
        assert_eq!(report.live.units_per_second, 500.0);
        assert_eq!(report.live.ended_late, 0);
        assert_eq!(report.dead.units, 1);
        assert_eq!(report.dead.units_per_second, 0.0);
        assert_eq!(report.dead.ended_late, 1);
    }

    #[test]
    fn table_and_json_say_the_same() {
        let report = report(3);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["live"]["outcomes"]["ok"], 1000);
        assert_eq!(json["dead"]["outcomes"]["socks_05"], 1);
        assert_eq!(json["not_started"], 3);
        assert!(json["rate"].is_null());
        let table = report.to_string();
        for part in [
            "live        1000     500.0",
            "answered SOCKS 05",
            "3 units were due",
        ] {
            assert!(table.contains(part), "{part:?} in\n{table}");
        }
    }

    #[test]
    fn a_run_without_one_live_success_has_failed() {
        let mut report = report(0);
        assert!(report.verdict().is_ok());
        report.live.outcomes = vec![(Outcome::Closed, 1000)];
        assert!(report.verdict().is_err());
        report.live.units = 0;
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        let shown = [0, 999, 1_000, 15_250, 999_000, 1_000_000, 61_500_000].map(readable);
        assert_eq!(
            shown,
            [
                "0 us",
                "999 us",
                "1.00 ms",
                "15.25 ms",
                "999.00 ms",
                "1.00 s",
                "61.50 s"
            ]
        );
    }
}
