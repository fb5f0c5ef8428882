//! The table of figures, beside what they have to reach.

use crate::figure::{Bar, Series};

pub(crate) fn print_table(find: impl Fn(&str) -> Series) {
    let v4 = find("loop");
    let net = |name: &str| find(name) - &v4;
    let clock = |name: &str| find(name) - &v4;
    let scaling = |of: &str| find(&format!("hot {of} 1")) / &find(&format!("hot {of} 2"));
    let control = |of: &str| find(&format!("own {of} 1")) / &find(&format!("own {of} 2"));
    let relative = |of: &str| scaling(of) / &control(of);
    let dials = find("dial classic") / &find("dial");
    let dials_2 = find("dial classic, 2 threads") / &find("dial, 2 threads");
    println!("| figure | bar | aim | median (min..max) | classic | holds |");
    println!("|---|---|---|---|---|---|");
    row("loop, ns", Bar::None, &v4, None);
    row(
        "healthy IPv4, net ns",
        Bar::AtMost(4.0),
        &net("v4"),
        Some(net("v4 classic")),
    );
    let v6 = |name| find(name) - &find("loop v6");
    row(
        "healthy IPv6, net ns",
        Bar::AtMost(6.0),
        &v6("v6"),
        Some(v6("v6 classic")),
    );
    let handle = find("handle") - &find("loop handles");
    row("healthy handle, net ns", Bar::AtMost(1.5), &handle, None);
    let admit = find("admit") - &find("v4");
    row(
        "try_admit, healthy, less the read, ns",
        Bar::AtMost(2.0),
        &admit,
        None,
    );
    row(
        "attempt begun and ended, its clock included, net ns",
        Bar::AtMost(100.0),
        &net("attempt"),
        None,
    );
    let attempt = find("attempt, handle") - &find("loop handles");
    row(
        "attempt by handle, both clocks included, net ns",
        Bar::AtMost(100.0),
        &attempt,
        None,
    );
    row(
        "clock alone, cached, net ns",
        Bar::None,
        &clock("cached clock"),
        None,
    );
    row(
        "clock alone, system's, net ns",
        Bar::None,
        &clock("system clock"),
        None,
    );
    let cached = net("down, cached clock") - &clock("cached clock");
    row(
        "down, cached clock, less the clock, net ns",
        Bar::AtMost(15.0),
        &cached,
        None,
    );
    let system = net("down") - &clock("system clock");
    row(
        "down, system's clock, less the clock, net ns",
        Bar::AtMost(15.0),
        &system,
        None,
    );
    row(
        "down, system's clock, net ns",
        Bar::None,
        &net("down"),
        Some(net("down classic")),
    );
    row(
        "dial (read + success), ns",
        Bar::None,
        &find("dial"),
        Some(find("dial classic")),
    );
    row(
        "dial, times the classic",
        Bar::AtLeast(20.0, Some(28.0)),
        &dials,
        None,
    );
    let both = (find("dial, 2 threads"), find("dial classic, 2 threads"));
    row(
        "dial, 2 threads, ns of both together",
        Bar::None,
        &both.0,
        Some(both.1),
    );
    row(
        "dial, 2 threads, times the classic",
        Bar::AtLeast(30.0, Some(70.0)),
        &dials_2,
        None,
    );
    row(
        "2 threads over 1, hot healthy",
        Bar::None,
        &scaling("up"),
        Some(scaling("classic")),
    );
    row(
        "2 threads over 1, private healthy",
        Bar::None,
        &control("up"),
        Some(control("classic")),
    );
    let healthy = relative("up");
    row(
        "hot over private, healthy",
        Bar::AtLeast(0.9, None),
        &healthy,
        Some(relative("classic")),
    );
    row(
        "2 threads over 1, hot down",
        Bar::None,
        &scaling("down"),
        None,
    );
    row(
        "2 threads over 1, private down",
        Bar::None,
        &control("down"),
        None,
    );
    row(
        "hot over private, down",
        Bar::AtLeast(0.9, None),
        &relative("down"),
        None,
    );
    row(
        "healthy, chains full of vacated records, net ns",
        Bar::None,
        &net("vacated"),
        None,
    );
    row(
        "healthy but pinned, by address, net ns",
        Bar::None,
        &net("pinned"),
        None,
    );
    let failures = (net("failure"), net("failure classic"));
    row(
        "failure, uncontended, its clock included, net ns",
        Bar::AtMost(60.0),
        &failures.0,
        Some(failures.1),
    );
}

fn row(figure: &str, bar: Bar, measured: &Series, classic: Option<Series>) {
    let classic = classic.map_or("-".into(), |classic| format!("{:.2}", classic.median()));
    let holds = bar.holds(measured.median());
    println!("| {figure} | {bar} | {measured} | {classic} | {holds} |");
}
