//! The memory guard: how near the process is to the memory that it may use.
//!
//! A process that outgrows its control group is killed, and everybody is cut. So new clients are
//! refused first, then idle connections are ended, and at last some are cut.
//!
//! What counts is what the kernel counts: the group's use without the file pages that it can take
//! back at once, sockets included; for a bound of the operator's own, the process's resident set.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::bounds::Memory;

/// How short memory is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Pressure {
    /// There is enough.
    None,
    /// From 85 % on: new connections are refused.
    Refuse,
    /// From 90 % on: idle connections are ended.
    EndIdle,
    /// From 95 % on: connections are cut.
    Shed,
}

/// What the workers ask, and one of them finds out.
#[derive(Debug, Default)]
pub struct Guard {
    pressure: AtomicU8,
    used: AtomicU64,
    most: AtomicU64,
    /// How often has been looked, so that each worker sheds once for each look.
    looks: AtomicU64,
    shed: Vec<AtomicU64>,
}

impl Guard {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            shed: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            ..Self::default()
        }
    }

    /// How short memory is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Refuse,
            2 => Pressure::EndIdle,
            _ => Pressure::Shed,
        }
    }

    /// Bytes in use and bytes that may be; `None` while there is no bound.
    #[must_use]
    pub fn room(&self) -> Option<(u64, u64)> {
        let most = self.most.load(Ordering::Relaxed);
        (most > 0).then(|| (self.used.load(Ordering::Relaxed), most))
    }

    /// Whether the worker has not cut anybody since the last look.
    pub(super) fn may_shed(&self, worker: usize) -> bool {
        let looks = self.looks.load(Ordering::Relaxed);
        let shed = self.shed.get(worker);
        shed.is_some_and(|shed| shed.swap(looks, Ordering::Relaxed) != looks)
    }

    /// Looks how much there is.
    pub(super) fn look(&self, bound: Memory, group: Option<&Group>) {
        let room = match bound {
            Memory::Off => None,
            Memory::Auto => group.and_then(Group::room),
            Memory::Bytes(most) => resident().map(|used| (used, most)),
        };
        let (used, most) = room.unwrap_or((0, 0));
        self.used.store(used, Ordering::Relaxed);
        self.most.store(most, Ordering::Relaxed);
        let pressure = pressure_of(used, most);
        let before = self.pressure.swap(pressure as u8, Ordering::Relaxed);
        self.looks.fetch_add(1, Ordering::Relaxed);
        if before == pressure as u8 {
            return;
        }
        match pressure {
            Pressure::None => tracing::info!(used, most, "there is memory again"),
            Pressure::Refuse => {
                tracing::warn!(used, most, "memory is short: new connections are refused");
            }
            Pressure::EndIdle => {
                tracing::warn!(used, most, "memory is short: idle connections are ended");
            }
            Pressure::Shed => {
                tracing::error!(used, most, "memory is short: connections are cut");
            }
        }
    }
}

fn pressure_of(used: u64, most: u64) -> Pressure {
    if most == 0 {
        return Pressure::None;
    }
    match u128::from(used) * 100 / u128::from(most) {
        95.. => Pressure::Shed,
        90.. => Pressure::EndIdle,
        85.. => Pressure::Refuse,
        _ => Pressure::None,
    }
}

/// The control group of this process, as far as it bounds memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Group {
    most: u64,
    current: PathBuf,
    stat: PathBuf,
}

impl Group {
    /// The group that bounds this process; `None` if none does.
    pub(super) fn own() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::find(Path::new("/sys/fs/cgroup"), &groups)
    }

    /// The tightest bound from the process's group upwards. Inside a container, the path may be
    /// that of the host, and then the root of the mount is the group.
    fn find(root: &Path, groups: &str) -> Option<Self> {
        let mut found: Vec<Self> = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let (base, names) = if controllers.is_empty() {
                (
                    root.to_owned(),
                    ["memory.max", "memory.current", "memory.stat"],
                )
            } else if controllers.split(',').any(|name| name == "memory") {
                let names = [
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "memory.stat",
                ];
                (root.join("memory"), names)
            } else {
                continue;
            };
            let own = base.join(path.trim_start_matches('/'));
            let folders = own.ancestors().take_while(|one| one.starts_with(&base));
            found.extend(folders.filter_map(|folder| Self::of(folder, names)));
        }
        found.into_iter().min_by_key(|group| group.most)
    }

    fn of(folder: &Path, [most, current, stat]: [&str; 3]) -> Option<Self> {
        let most = fs::read_to_string(folder.join(most)).ok()?;
        let most: u64 = most.trim().parse().ok()?;
        let group = Self {
            most,
            current: folder.join(current),
            stat: folder.join(stat),
        };
        // Without a bound, the first version says a number that no machine has.
        (most < UNBOUNDED && group.room().is_some()).then_some(group)
    }

    fn room(&self) -> Option<(u64, u64)> {
        let current = fs::read_to_string(&self.current).ok()?;
        let current: u64 = current.trim().parse().ok()?;
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            let value = line
                .strip_prefix("total_inactive_file ")
                .or_else(|| line.strip_prefix("inactive_file "))?;
            value.parse::<u64>().ok()
        });
        let used = current.saturating_sub(reclaimable.unwrap_or(0));
        Some((used, self.most))
    }
}

/// The process's resident set in bytes.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// How often is looked.
pub(super) const LOOK_PAUSE: Duration = Duration::from_millis(250);
const UNBOUNDED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_grows_with_what_is_used() {
        for (used, pressure) in [
            (0, Pressure::None),
            (849, Pressure::None),
            (850, Pressure::Refuse),
            (900, Pressure::EndIdle),
            (950, Pressure::Shed),
            (2000, Pressure::Shed),
        ] {
            assert_eq!(pressure_of(used, 1000), pressure, "{used}");
        }
        assert_eq!(pressure_of(u64::MAX, 0), Pressure::None, "no bound");
    }

    fn group(root: &Path, folder: &str, files: &[(&str, &str)]) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_tightest_bound_from_the_group_upwards_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        group(
            root,
            "a/b",
            &[("memory.max", "max\n"), ("memory.current", "5\n")],
        );
        let files = [
            ("memory.max", "1000\n"),
            ("memory.current", "600\n"),
            ("memory.stat", "anon 1\ninactive_file 100\n"),
        ];
        group(root, "a", &files);
        let found = Group::find(root, "0::/a/b\n").unwrap();
        assert_eq!(found.room(), Some((500, 1000)));
        assert_eq!(Group::find(root, "0::/elsewhere\n"), None);
        assert_eq!(Group::find(root, "nonsense"), None);
        // A container sees its own group at the root of the mount.
        group(root, "", &files);
        assert!(Group::find(root, "0::/of/the/host\n").is_some());
    }

    #[test]
    fn the_first_version_of_groups_is_understood() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "600\n"),
            ("memory.stat", "total_inactive_file 50\n"),
        ];
        group(root.path(), "memory/a", &files);
        let found = Group::find(root.path(), "4:cpu:/a\n3:memory:/a\n").unwrap();
        assert_eq!(found.room(), Some((550, 1000)));
        let unbounded = [
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "600\n"),
        ];
        group(root.path(), "memory/b", &unbounded);
        assert_eq!(Group::find(root.path(), "3:memory:/b\n"), None);
    }

    #[test]
    fn a_worker_sheds_once_for_each_look() {
        let guard = Guard::new(2);
        guard.look(Memory::Bytes(1), None);
        assert_eq!(guard.pressure(), Pressure::Shed);
        assert!(guard.may_shed(0) && guard.may_shed(1));
        assert!(!guard.may_shed(0));
        guard.look(Memory::Bytes(1), None);
        assert!(guard.may_shed(0));
        guard.look(Memory::Bytes(u64::MAX), None);
        assert_eq!(guard.pressure(), Pressure::None);
        guard.look(Memory::Off, None);
        assert_eq!(guard.room(), None);
    }
}
