//! What a choice among the members of a group costs.
//!
//! ```text
//! cargo bench --bench group
//! ```
//!
//! *Choice* is `choose`; *request* is `admit` and the end of it by a success, which counts one call;
//! *walk* asks every member whether it is eligible, as a balancer of one's own might, and is for the
//! whole walk. The list is refreshed before each, as whoever keeps one does.
// A bench fails by panicking.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use risefall::{Cause, Group, GroupPolicy, GroupPolicyBuilder, Member, Members, Outcome, Registry};

const TOOK: Duration = Duration::from_millis(1);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(450))
        .nresamples(1001)
        .configure_from_args();
    for members in [10, 1000] {
        let mut bench = criterion.benchmark_group(format!("{members} members"));
        let mut run = |name: &str, group: &Group, work: &dyn Fn(&Members, u64)| {
            let (mut list, mut seed) = (group.members(), 0);
            bench.bench_function(name, |bencher| {
                bencher.iter(|| {
                    group.refresh(&mut list);
                    seed += 1;
                    work(&list, seed);
                });
            });
        };
        let well = group(members, GroupPolicy::builder(), |_| 1);
        run("choice, all up", &well, &choose);
        run("request, all up", &well, &request);
        run("walk, all up", &well, &walk);
        let uneven = group(members, GroupPolicy::builder(), |nth| 1 + nth as u16 % 7);
        run("choice, weights", &uneven, &choose);
        let slow = GroupPolicy::builder().slow_start(Duration::from_secs(3600), 10);
        let warming = group(members, slow, |_| 1);
        each_fifth(&warming, |member| {
            (0..3).for_each(|_| member.dial().add_fall_down());
            (0..2).for_each(|_| member.dial().add_rise_up());
        });
        run("choice, a fifth warms up", &warming, &choose);
        let down = group(members, GroupPolicy::builder(), |_| 1);
        each_fifth(&down, |member| {
            let failed = Outcome::Failed(Cause::BadGateway);
            (0..3).for_each(|_| member.end(member.admit_anyway(), failed, TOOK));
        });
        run("choice, a fifth ejected", &down, &choose);
        let few = group(members, GroupPolicy::builder(), |_| 1);
        for member in few.members().iter().skip(1 + members as usize / 100) {
            (0..3).for_each(|_| member.dial().add_fall_down());
        }
        run("choice, all down but a few", &few, &choose);
        bench.finish();
    }
    criterion.final_summary();
}

fn group(members: u32, policy: GroupPolicyBuilder, weight: impl Fn(u32) -> u16) -> Group {
    let registry = Registry::builder().build();
    let policy = policy.build().expect("all is within its range");
    let group = Group::builder(&registry)
        .policy(policy)
        .capacity(members as usize)
        .build();
    let address = |nth| SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + nth), 80));
    group.set((0..members).map(|nth| (address(nth), weight(nth))));
    group
}

fn each_fifth(group: &Group, work: impl Fn(&Arc<Member>)) {
    group.members().iter().step_by(5).for_each(work);
}

fn choose(members: &Members, seed: u64) {
    black_box(members.choose(seed).is_some());
}

fn request(members: &Members, seed: u64) {
    if let Some((member, right)) = members.admit(seed) {
        member.end(right, Outcome::Success, TOOK);
    }
}

fn walk(members: &Members, _: u64) {
    black_box(members.iter().filter(|member| member.is_eligible()).count());
}
