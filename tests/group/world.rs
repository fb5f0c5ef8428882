//! A group on a clock that moves only when told to, whose members are known by the last number of
//! their address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use risefall::{
    Cause, Effect, Group, GroupPolicy, GroupPolicyBuilder, ManualClock, Member, Outcome, Policy,
    Recovery, Registry, Rule, State,
};

pub(super) const FAILED: Outcome = Outcome::Failed(Cause::BadGateway);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLI: Duration = Duration::from_millis(1);

pub(super) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

pub(super) struct World {
    pub(super) clock: Arc<ManualClock>,
    pub(super) dials: Registry,
    pub(super) group: Group,
}

/// One failure in the service word takes a member down, one success in its dial word up.
pub(super) fn policy() -> GroupPolicyBuilder {
    GroupPolicy::builder().service(service(Recovery::PROBE))
}

pub(super) fn service(recovery: Recovery) -> Policy {
    let policy = GroupPolicy::default().service().clone().into_builder();
    let policy = policy.max_fails(1).min_rises(1).recovery(recovery);
    policy.build().unwrap()
}

pub(super) fn world(members: u8, policy: GroupPolicyBuilder) -> World {
    let clock = Arc::new(ManualClock::new());
    let dial_policy = Policy::builder().max_fails(1).min_rises(1);
    let dials = Registry::builder()
        .policy(dial_policy.build().unwrap())
        .clock(clock.clone())
        .build();
    let group = Group::new(&dials, policy.build().unwrap());
    group.set((1..=members).map(|host| (address(host), 1)));
    World {
        clock,
        dials,
        group,
    }
}

impl World {
    pub(super) fn member(&self, host: u8) -> Arc<Member> {
        let members = self.group.members();
        Arc::clone(members.find(&address(host)).expect("it is a member"))
    }

    pub(super) fn calls(&self, host: u8, outcome: Outcome, times: u32) {
        self.slow_calls(host, outcome, times, MILLI);
    }

    pub(super) fn slow_calls(&self, host: u8, outcome: Outcome, times: u32, took: Duration) {
        let member = self.member(host);
        for _ in 0..times {
            member.end(member.admit_anyway(), outcome, took);
        }
    }

    pub(super) fn eligible(&self) -> Vec<u8> {
        let members = self.group.members();
        let eligible = members.iter().filter(|member| member.is_eligible());
        eligible.map(|member| host_of(member)).collect()
    }

    pub(super) fn state(&self, host: u8) -> State {
        self.member(host).status().service.state
    }

    /// Until the member is due for a probe.
    pub(super) fn expire(&self, host: u8) {
        let retry_in = self.member(host).status().service.retry_in;
        self.clock.advance(retry_in.unwrap());
        assert_eq!(self.state(host), State::ProbeDue);
    }

    pub(super) fn sweep(&self) -> Vec<(u8, Rule, Effect)> {
        let sweep = self.group.sweep(self.group.now());
        let found = sweep.outliers.iter();
        found
            .map(|one| (one.address.to_string(), one))
            .map(|(text, one)| {
                let host = text.split(['.', ':']).nth(3).unwrap().parse().unwrap();
                (host, one.rule, one.effect)
            })
            .collect()
    }
}

pub(super) fn host_of(member: &Member) -> u8 {
    match member.address() {
        SocketAddr::V4(v4) => v4.ip().octets()[3],
        SocketAddr::V6(_) => panic!("all are IPv4"),
    }
}
