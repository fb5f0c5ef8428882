//! The state file: health that outlives the process.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use risefall::{Registry, Snapshot};

/// Writes what the registry holds, so that a reader sees the old file or the new one, whole.
pub(super) fn save(registry: &Registry, path: &Path) -> io::Result<()> {
    let json = serde_json::to_vec(&registry.export())?;
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = Path::new(&next);
    let mut file = File::create(next)?;
    file.write_all(&json)?;
    // Or a power failure may leave the new name with nothing in it.
    file.sync_all()?;
    fs::rename(next, path)
}

/// Takes over what the file holds, older by the time since it was written. A file that cannot be
/// read costs the memory, not the start.
pub(super) fn restore(registry: &Registry, path: &Path) {
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(path = %path.display(), "there is no state file yet");
            return;
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the state file cannot be read");
            return;
        }
    };
    let restored = serde_json::from_slice::<Snapshot>(&file)
        .map_err(|error| error.to_string())
        .and_then(|snapshot| {
            registry
                .import(&snapshot)
                .map_err(|error| error.to_string())
        });
    match restored {
        Ok(imported) => tracing::info!(
            path = %path.display(), addresses = imported.taken, "health is taken over"
        ),
        Err(error) => tracing::error!(
            path = %path.display(), error, "the state file is not one; starting without memory"
        ),
    }
}

/// Takes over what another process has held against addresses until a moment ago.
pub(super) fn take_over(registry: &Registry, health: &Snapshot) {
    match registry.import(health) {
        Ok(imported) => tracing::info!(addresses = imported.taken, "health is taken over"),
        Err(error) => tracing::error!(%error, "health is not taken over"),
    }
}

#[cfg(test)]
mod tests {
    use risefall::Policy;

    use super::*;

    #[test]
    fn what_was_down_is_down_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("health.json");
        let address = "192.0.2.7:443".parse().unwrap();
        let before = Registry::new(Policy::default());
        for _ in 0..3 {
            before.add_fall_down(address);
        }
        save(&before, &path).unwrap();
        save(&before, &path).unwrap();
        let after = Registry::new(Policy::default());
        restore(&after, &path);
        assert!(after.is_fall_down(&address));
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_is_none_costs_the_memory_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("health.json");
        let registry = Registry::new(Policy::default());
        restore(&registry, &path);
        for text in [
            "",
            "{",
            "[]",
            "{\"version\": 99, \"taken_unix_ms\": 0, \"entries\": []}",
        ] {
            fs::write(&path, text).unwrap();
            restore(&registry, &path);
        }
        assert!(registry.statuses().is_empty());
    }
}
