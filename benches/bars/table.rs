//! The table of figures, beside what they have to reach.

use crate::figure::{Bar, Series};

pub(crate) fn print_table(find: impl Fn(&str) -> Series) {
    println!("| figure | bar | aim | median (min..max) | classic | holds |");
    println!("|---|---|---|---|---|---|");
    reads(&find);
    attempts(&find);
    reads_of_one_that_is_down(&find);
    dials(&find);
    threads(&find);
    others(&find);
}

/// Without the loop that it was measured in.
fn net(find: &impl Fn(&str) -> Series, name: &str) -> Series {
    find(name) - &find("loop")
}

fn reads(find: &impl Fn(&str) -> Series) {
    row("loop, ns", Bar::None, &find("loop"), None);
    row(
        "healthy IPv4, net ns",
        Bar::AtMost(4.0),
        &net(find, "v4"),
        Some(net(find, "v4 classic")),
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
}

fn attempts(find: &impl Fn(&str) -> Series) {
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
        &net(find, "attempt"),
        None,
    );
    let attempt = find("attempt, handle") - &find("loop handles");
    row(
        "attempt by handle, both clocks included, net ns",
        Bar::AtMost(100.0),
        &attempt,
        None,
    );
}

fn reads_of_one_that_is_down(find: &impl Fn(&str) -> Series) {
    row(
        "clock alone, cached, net ns",
        Bar::None,
        &net(find, "cached clock"),
        None,
    );
    row(
        "clock alone, system's, net ns",
        Bar::None,
        &net(find, "system clock"),
        None,
    );
    let cached = net(find, "down, cached clock") - &net(find, "cached clock");
    row(
        "down, cached clock, less the clock, net ns",
        Bar::AtMost(15.0),
        &cached,
        None,
    );
    let system = net(find, "down") - &net(find, "system clock");
    row(
        "down, system's clock, less the clock, net ns",
        Bar::AtMost(15.0),
        &system,
        None,
    );
    row(
        "down, system's clock, net ns",
        Bar::None,
        &net(find, "down"),
        Some(net(find, "down classic")),
    );
}

fn dials(find: &impl Fn(&str) -> Series) {
    let times = find("dial classic") / &find("dial");
    let times_by_2 = find("dial classic, 2 threads") / &find("dial, 2 threads");
    row(
        "dial (read + success), ns",
        Bar::None,
        &find("dial"),
        Some(find("dial classic")),
    );
    row(
        "dial, times the classic",
        Bar::AtLeast(20.0, Some(28.0)),
        &times,
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
        &times_by_2,
        None,
    );
}

fn threads(find: &impl Fn(&str) -> Series) {
    let scaling = |of: &str| find(&format!("hot {of} 1")) / &find(&format!("hot {of} 2"));
    let control = |of: &str| find(&format!("own {of} 1")) / &find(&format!("own {of} 2"));
    let relative = |of: &str| scaling(of) / &control(of);
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
}

fn others(find: &impl Fn(&str) -> Series) {
    row(
        "healthy, chains full of vacated records, net ns",
        Bar::None,
        &net(find, "vacated"),
        None,
    );
    row(
        "healthy but pinned, by address, net ns",
        Bar::None,
        &net(find, "pinned"),
        None,
    );
    let failures = (net(find, "failure"), net(find, "failure classic"));
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
