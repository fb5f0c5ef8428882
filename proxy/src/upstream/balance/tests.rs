//! What each way of balancing chooses.

use std::collections::HashMap;

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

#[test]
fn no_way_chooses_a_server_that_is_down() {
    for balance in ALL {
        let mut servers = servers(&[1, 2, 3, 4]);
        for down in [1, 3] {
            servers[down].is_down = true;
        }
        let counts = counts(&chosen(balance, &servers, 400), 4);
        assert_eq!((counts[1], counts[3]), (0, 0), "{balance:?}");
        assert!(counts[0] > 0 && counts[2] > 0, "{balance:?} {counts:?}");
        for server in &mut servers {
            server.is_down = true;
        }
        let balancer = Balancer::new(balance, &servers, 7);
        assert_eq!(balancer.choose(&servers, 1), None, "{balance:?}");
        assert_eq!(
            Balancer::new(balance, &[] as &[Fake], 7).choose(&[] as &[Fake], 1),
            None
        );
    }
}

#[test]
fn the_fewest_connections_for_the_weight_come_first_and_equals_in_turn() {
    let mut servers = servers(&[1, 4, 1]);
    for (server, in_flight) in servers.iter_mut().zip([3, 8, 2]) {
        server.in_flight = in_flight;
    }
    // 3, 2, 2 for each unit of weight.
    let counts = counts(&chosen(Balance::LeastConn, &servers, 30), 3);
    assert_eq!(counts[0], 0);
    assert!(counts[1] > 5 && counts[2] > 5, "{counts:?}");
}

#[test]
fn of_two_the_idler_and_the_quicker_is_better() {
    let mut servers = servers(&[1; 10]);
    for server in &mut servers {
        server.cost = 1000;
    }
    servers[3].cost = 100_000;
    servers[4].in_flight = 50;
    let counts = counts(&chosen(Balance::P2c, &servers, 5000), 10);
    // Only when both picks are the same one.
    assert!(counts[3] < 120 && counts[4] < 220, "{counts:?}");
    assert!(counts[0] > 400, "{counts:?}");
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
