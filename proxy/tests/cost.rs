//! What it costs in memory to choose a server: nothing.
//!
//! One test in this file: it counts what the whole process asks of the allocator.

// A test fails by panicking.
#![allow(clippy::panic)]

use std::alloc::System;

use risefall_proxy::upstream::member::Tried;
use risefall_proxy::upstream::members::Choice;

#[path = "support/counting.rs"]
mod counting;
#[path = "support/servers.rs"]
mod servers;

use counting::Counting;
use servers::{Servers, WAYS};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// How many servers the choices fell on, and what they asked of the allocator.
fn choices(servers: &Servers, is_tried_again: bool) -> (u64, u64) {
    let before = counting::so_far();
    let mut found = 0;
    for key in 0..CHOICES {
        let mut tried = Tried::default();
        let choice = servers.members.choose(key, &tried);
        let Choice::Member(member, _) = choice else {
            continue;
        };
        found += 1;
        let kept = servers.members.by_name(member.number(), &tried);
        assert_eq!(kept.is_some(), !member.is_down());
        tried.add(&member);
        if is_tried_again {
            let other = servers.members.choose(key, &tried);
            assert!(matches!(other, Choice::Member(other, _) if other.address != member.address));
        }
    }
    (found, (counting::so_far() - before).calls)
}

#[test]
fn a_choice_allocates_nothing_however_it_ends() {
    for (name, balance) in WAYS {
        for count in [10, 100] {
            let servers = Servers::new(count, balance, false);
            let busy = servers.work();
            assert_eq!(choices(&servers, true), (CHOICES, 0), "{name}, all up");
            servers.take_down_every(4);
            assert_eq!(choices(&servers, true), (CHOICES, 0), "{name}, some down");
            drop(busy);
            servers.take_down_every(1);
            assert_eq!(choices(&servers, false), (0, 0), "{name}, all down");
            let servers = Servers::new(count, balance, true);
            servers.take_down_every(1);
            assert_eq!(choices(&servers, false), (CHOICES, 0), "{name}, open");
        }
    }
}

/// Of each group.
const CHOICES: u64 = 40;
