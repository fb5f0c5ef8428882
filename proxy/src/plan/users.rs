//! Who may ask, by name and password.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// Users with their passwords, of which only digests are kept.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Users(Box<[User]>);

#[derive(Clone, Eq, PartialEq)]
struct User {
    /// Without a colon.
    name: Box<str>,
    /// Of the name, a colon and the password.
    digest: [u8; SHA256_OUTPUT_LEN],
}

impl Users {
    /// Those of these names, which have no colon, with these passwords.
    pub fn new<'a>(users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let users = users.into_iter().map(|(name, password)| User {
            name: name.into(),
            digest: digest_of(format!("{name}:{password}").as_bytes()),
        });
        Self(users.collect())
    }

    /// Whether there is nobody; then everybody may ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The name of the user whose name and password, with a colon between them, are `shown`. Takes
    /// the same time whoever it is, and if it is nobody.
    #[must_use]
    pub fn find(&self, shown: &[u8]) -> Option<&str> {
        let shown = digest_of(shown);
        self.0.iter().fold(None, |found, user| {
            let is_it = verify_slices_are_equal(&user.digest, &shown).is_ok();
            if is_it { Some(&*user.name) } else { found }
        })
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set()
            .entries(self.0.iter().map(|user| &user.name))
            .finish()
    }
}

fn digest_of(text: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest(&SHA256, text).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_password_together() {
        let users = Users::new([("alice", "hunter2"), ("bob", "a:b"), ("é", "ü")]);
        assert_eq!(users.find(b"alice:hunter2"), Some("alice"));
        assert_eq!(users.find(b"bob:a:b"), Some("bob"));
        assert_eq!(users.find("é:ü".as_bytes()), Some("é"));
        for wrong in [
            "",
            ":",
            "alice",
            "alice:",
            "alice:a:b",
            "bob:hunter2",
            "Alice:hunter2",
        ] {
            assert_eq!(users.find(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Users::default().find(b":"), None);
    }

    #[test]
    fn passwords_are_not_shown() {
        let users = Users::new([("alice", "hunter2")]);
        assert_eq!(format!("{users:?}"), r#"{"alice"}"#);
        assert_eq!(users.len(), 1);
    }
}
