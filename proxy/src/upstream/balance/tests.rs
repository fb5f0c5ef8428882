//! What each way of balancing chooses.

use std::collections::{HashMap, VecDeque};

use super::*;

#[derive(Clone, Default)]
struct Fake {
    name: u64,
    weight: u16,
    is_down: bool,
    in_flight: u32,
    cost: u64,
}

impl Candidate for Fake {
    fn is_down(&self) -> bool {
        self.is_down
    }
    fn weight(&self) -> u16 {
        self.weight
    }
    fn in_flight(&self) -> u32 {
        self.in_flight
    }
    fn cost(&self) -> u64 {
        self.cost
    }
    fn name(&self) -> u64 {
        self.name
    }
}

fn servers(weights: &[u16]) -> Vec<Fake> {
    let servers = weights.iter().enumerate().map(|(name, &weight)| Fake {
        name: name as u64,
        weight,
        ..Fake::default()
    });
    servers.collect()
}

fn chosen(balance: Balance, servers: &[Fake], times: usize) -> Vec<usize> {
    let balancer = Balancer::new(balance, servers, 7);
    let chosen = (0..times).map(|key| balancer.choose(servers, key as u64).unwrap());
    chosen.collect()
}

fn counts(chosen: &[usize], len: usize) -> Vec<usize> {
    let mut counts = vec![0; len];
    for &place in chosen {
        counts[place] += 1;
    }
    counts
}

const MS: u64 = 1_000_000;

const ALL: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::Random,
    Balance::P2c,
    Balance::Hash,
];

#[test]
fn round_robin_is_exact_and_smooth() {
    let servers = servers(&[5, 1, 1]);
    let chosen = chosen(Balance::RoundRobin, &servers, 70);
    assert_eq!(counts(&chosen, 3), [50, 10, 10]);
    for seven in chosen.windows(7) {
        assert_eq!(counts(seven, 3), [5, 1, 1], "{chosen:?}");
    }
    // The light ones never come one after the other.
    for two in chosen.windows(2) {
        assert!(two[0] == 0 || two[1] == 0, "{chosen:?}");
    }
}

#[test]
fn weights_that_share_a_divisor_make_a_short_sequence() {
    assert_eq!(spread(&[200, 100]).len(), 3);
    assert_eq!(spread(&[]).len(), 0);
    assert_eq!(spread(&[0]).len(), 1);
    let mut equals = spread(&[1, 1, 1]);
    equals.sort_unstable();
    assert_eq!(&*equals, [0, 1, 2]);
    assert_eq!(spread(&[256; 4096]).len(), 4096);
    assert_eq!(spread(&[256, 255]).len(), 511);
}

#[test]
fn chance_follows_the_weights() {
    let servers = servers(&[3, 1]);
    for balance in [Balance::Random, Balance::Hash] {
        let counts = counts(&chosen(balance, &servers, 4000), 2);
        assert!((2700..3300).contains(&counts[0]), "{balance:?} {counts:?}");
    }
}

/// Weights, and who of them is down.
const SOME_DOWN: [(&[u16], &[usize]); 11] = [
    (&[1, 1, 1], &[]),
    (&[1, 1, 1], &[0]),
    (&[1, 1, 1], &[1]),
    (&[1, 1, 1], &[2]),
    (&[1; 10], &[3, 4, 5, 6]),
    (&[1; 10], &[0, 2, 5, 9]),
    (&[1, 2, 3, 4], &[1, 3]),
    (&[5, 3, 1, 1], &[0]),
    (&[5, 3, 1, 1], &[2]),
    // Chance alone hardly ever meets those that are up.
    (&[250, 1, 3, 250], &[0, 3]),
    (&[1; 12], &[0, 1, 2, 3, 4, 5, 6, 8, 10]),
];

#[test]
fn the_share_of_those_that_are_down_is_spread_over_all_others_by_their_weights() {
    for (balance, (weights, down)) in ALL.iter().flat_map(|&way| SOME_DOWN.map(|one| (way, one))) {
        let mut servers = servers(weights);
        down.iter().for_each(|&place| servers[place].is_down = true);
        let sum: usize = up(&servers).map(|one| usize::from(one.weight)).sum();
        let counts = counts(&chosen(balance, &servers, 600 * sum), servers.len());
        for (server, &count) in servers.iter().zip(&counts) {
            let due = match server.is_down {
                true => 0,
                false => 600 * usize::from(server.weight),
            };
            let most_off = match balance {
                _ if due == 0 => 0,
                Balance::RoundRobin => 0,
                // What begins somewhere ends somewhere.
                Balance::LeastConn => 1,
                // More than four times the usual deviation.
                Balance::Random | Balance::P2c => 4 * due.isqrt(),
                Balance::Hash => due * 2 / 5,
            };
            let told = format!("{balance:?} {weights:?} without {down:?}: {counts:?}");
            assert!(count.abs_diff(due) <= most_off, "{told}");
        }
    }
}

#[test]
fn who_stands_in_follows_the_weights_and_it_is_nobody_s_turn() {
    for (balance, (weights, down)) in ALL.iter().flat_map(|&way| SOME_DOWN.map(|one| (way, one))) {
        let mut servers = servers(weights);
        down.iter().for_each(|&place| servers[place].is_down = true);
        let sum: usize = up(&servers).map(|one| usize::from(one.weight)).sum();
        let balancer = Balancer::new(balance, &servers, 7);
        let turns = Balancer::new(balance, &servers, 7);
        let mut found = Vec::new();
        for key in 0..600 * sum as u64 {
            let aside = balancer.choose_aside(&servers, key, |one| !one.is_down);
            found.extend(aside);
            if matches!(balance, Balance::RoundRobin | Balance::LeastConn) {
                let turn = balancer.choose(&servers, key);
                assert_eq!(turn, turns.choose(&servers, key), "{balance:?} {weights:?}");
            }
        }
        for (server, &count) in servers.iter().zip(&counts(&found, servers.len())) {
            let due = match server.is_down {
                true => 0,
                false => 600 * usize::from(server.weight),
            };
            let most_off = match balance {
                Balance::Hash => due * 2 / 5,
                _ => 4 * due.isqrt(),
            };
            assert!(
                count.abs_diff(due) <= most_off,
                "{balance:?} {weights:?} {count} {due}"
            );
        }
    }
}

#[test]
fn who_stands_in_has_the_fewest_connections_for_its_weight() {
    let mut servers = servers(&[1, 2, 1, 4]);
    for (server, in_flight) in servers.iter_mut().zip([3, 4, 0, 8]) {
        server.in_flight = in_flight;
    }
    servers[2].is_down = true;
    let balancer = Balancer::new(Balance::LeastConn, &servers, 7);
    let aside = || balancer.choose_aside(&servers, 0, |one| !one.is_down);
    let found: Vec<_> = (0..600).filter_map(|_| aside()).collect();
    // Two have two each for a weight of 1.
    let counts = counts(&found, 4);
    assert_eq!((counts[0], counts[2]), (0, 0));
    assert!((150..250).contains(&counts[1]), "{counts:?}");
}

fn up(servers: &[Fake]) -> impl Iterator<Item = &Fake> {
    servers.iter().filter(|one| !one.is_down)
}

#[test]
fn turns_go_on_smoothly_without_those_that_are_down() {
    let mut servers = servers(&[1; 10]);
    for down in [3, 4, 5, 6] {
        servers[down].is_down = true;
    }
    for balance in [Balance::RoundRobin, Balance::LeastConn] {
        let chosen = chosen(balance, &servers, 60);
        for six in chosen.windows(6) {
            assert_eq!(
                counts(six, 10),
                [1, 1, 1, 0, 0, 0, 0, 1, 1, 1],
                "{balance:?}"
            );
        }
    }
}

#[test]
fn turns_that_were_missed_are_not_made_up_for() {
    for balance in [Balance::RoundRobin, Balance::LeastConn] {
        let mut servers = servers(&[1, 2, 1]);
        let balancer = Balancer::new(balance, &servers, 7);
        servers[0].is_down = true;
        for _ in 0..300 {
            assert_ne!(balancer.choose(&servers, 0), Some(0));
        }
        servers[0].is_down = false;
        let chosen: Vec<_> = (0..40)
            .filter_map(|_| balancer.choose(&servers, 0))
            .collect();
        let counts = counts(&chosen, 3);
        let is_even = (9..=11).contains(&counts[0]) && (19..=21).contains(&counts[1]);
        assert!(is_even, "{balance:?} {counts:?}");
    }
}

#[test]
fn nobody_is_chosen_where_all_are_down_or_nobody_is() {
    for balance in ALL {
        let mut servers = servers(&[1, 2, 3, 4]);
        let balancer = Balancer::new(balance, &servers, 7);
        for server in &mut servers {
            server.is_down = true;
        }
        assert_eq!(balancer.choose(&servers, 1), None, "{balance:?}");
        servers[2].is_down = false;
        assert_eq!(balancer.choose(&servers, 1), Some(2), "{balance:?}");
        let nobody: &[Fake] = &[];
        assert_eq!(Balancer::new(balance, nobody, 7).choose(nobody, 1), None);
    }
}

#[test]
fn a_choice_asks_no_more_than_it_must() {
    let asked = |balance, servers: &[Fake]| {
        let balancer = Balancer::new(balance, servers, 7);
        let asked = Cell::new(0_u32);
        for key in 0..1000 {
            let may = |one: &Fake| {
                asked.set(asked.get() + 1);
                !one.is_down
            };
            assert!(balancer.choose_from(servers, key, may).is_some());
        }
        asked.get()
    };
    let mut many = servers(&[1; 1000]);
    for (balance, each) in [
        (Balance::RoundRobin, 1),
        (Balance::Random, 1),
        (Balance::P2c, 2),
    ] {
        assert_eq!(asked(balance, &many), 1000 * each, "{balance:?}");
    }
    many.iter_mut()
        .step_by(4)
        .for_each(|one| one.is_down = true);
    // A third more than those that are up.
    for (balance, most) in [
        (Balance::RoundRobin, 1350),
        (Balance::Random, 1450),
        (Balance::P2c, 2900),
    ] {
        let asked = asked(balance, &many);
        assert!(asked <= most, "{balance:?} {asked}");
    }
    // A heavy one that is down is not asked again at each place where it stands.
    let mut uneven = servers(&[256, 1]);
    uneven[0].is_down = true;
    assert!(asked(Balance::RoundRobin, &uneven) <= 3000);
}

#[test]
fn the_fewest_connections_for_the_weight_come_first_and_equals_in_turn() {
    let mut servers = servers(&[1, 4, 1]);
    for (server, in_flight) in servers.iter_mut().zip([3, 8, 2]) {
        server.in_flight = in_flight;
    }
    // 3, 2, 2 for each unit of weight.
    let counts = counts(&chosen(Balance::LeastConn, &servers, 30), 3);
    assert_eq!(counts, [0, 24, 6]);
}

#[test]
fn of_two_the_idler_and_the_quicker_is_better() {
    let mut servers = servers(&[1; 10]);
    for server in &mut servers {
        server.cost = MS;
    }
    servers[3].cost = 50 * MS;
    servers[4].in_flight = 50;
    let counts = counts(&chosen(Balance::P2c, &servers, 8000), 10);
    for (place, count) in counts.iter().enumerate() {
        // Against any other they lose; against each other one of them is taken.
        let most = if place == 3 || place == 4 { 300 } else { 1100 };
        let least = if place == 3 || place == 4 { 0 } else { 800 };
        assert!((least..=most).contains(count), "{counts:?}");
    }
}

#[test]
fn of_two_servers_the_worse_one_is_not_taken_for_want_of_another() {
    for seed in 0..20 {
        for (slow, busy) in [(50, 0), (1, 1)] {
            let mut servers = servers(&[1, 1]);
            servers[0].cost = MS;
            servers[1].cost = slow * MS;
            servers[1].in_flight = busy;
            let balancer = Balancer::new(Balance::P2c, &servers, seed);
            for _ in 0..100 {
                assert_eq!(
                    balancer.choose(&servers, 0),
                    Some(0),
                    "{seed}: {slow}, {busy}"
                );
            }
        }
    }
}

#[test]
fn of_two_that_are_about_as_quick_none_gets_all() {
    for (one, other) in [(0, 0), (0, 5), (1, 4), (20, 30), (100, 190)] {
        let mut servers = servers(&[1, 1]);
        (servers[0].cost, servers[1].cost) = (one * MS, other * MS);
        let counts = counts(&chosen(Balance::P2c, &servers, 1000), 2);
        assert!(
            (440..=560).contains(&counts[0]),
            "{one}, {other}: {counts:?}"
        );
    }
}

#[test]
fn of_two_a_slow_one_is_asked_when_the_quick_one_would_take_longer() {
    let mut servers = servers(&[1, 1]);
    (servers[0].cost, servers[1].cost) = (2 * MS, 20 * MS);
    for (in_flight, expected) in [(0, 0), (8, 0), (10, 1), (100, 1)] {
        servers[0].in_flight = in_flight;
        let chosen = chosen(Balance::P2c, &servers, 20);
        assert_eq!(chosen, [expected; 20], "{in_flight}");
    }
}

#[test]
fn under_load_the_better_of_two_follows_the_weights() {
    for weights in [&[3, 1][..], &[4, 2, 1, 1], &[2, 2, 1, 1, 1, 1]] {
        let mut servers = servers(weights);
        let balancer = Balancer::new(Balance::P2c, &servers, 7);
        let (mut under_way, mut chosen) = (VecDeque::new(), Vec::new());
        for _ in 0..8000 {
            let place = balancer.choose(&servers, 0).unwrap();
            servers[place].in_flight += 1;
            under_way.push_back(place);
            chosen.push(place);
            if under_way.len() > 80 {
                servers[under_way.pop_front().unwrap()].in_flight -= 1;
            }
        }
        let counts = counts(&chosen, servers.len());
        let sum: u16 = weights.iter().sum();
        for (&weight, &count) in weights.iter().zip(&counts) {
            let due = 8000 * usize::from(weight) / usize::from(sum);
            assert!(count.abs_diff(due) <= due / 10, "{weights:?} {counts:?}");
        }
    }
}

#[test]
fn a_key_keeps_its_server_while_others_come_and_go() {
    let mut servers = servers(&[1; 10]);
    let place_of = |servers: &[Fake]| -> HashMap<u64, u64> {
        let balancer = Balancer::new(Balance::Hash, servers, 1);
        let keys = 0..1000;
        keys.map(|key| (key, servers[balancer.choose(servers, key).unwrap()].name))
            .collect()
    };
    let before = place_of(&servers);
    let balancer = Balancer::new(Balance::Hash, &servers, 99);
    servers[2].is_down = true;
    for (&key, &name) in &before {
        let now = servers[balancer.choose(&servers, key).unwrap()].name;
        assert!(now == name || name == 2, "{key}");
    }
    servers.remove(2);
    let after = place_of(&servers);
    let moved = before
        .iter()
        .filter(|(key, name)| after[key] != **name)
        .count();
    let there = before.values().filter(|&&name| name == 2).count();
    assert_eq!(moved, there, "only the keys of the one that has gone");
}
