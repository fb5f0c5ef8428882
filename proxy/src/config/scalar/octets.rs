//! Bytes that servers are sent and answer, and patterns of them.

use risefall::check::{Pattern, unescape};

use super::{Form, refused};

/// Bytes, written as text with escapes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Octets(pub Vec<u8>);

impl Form for Octets {
    const NAME: &'static str = "bytes";
    const EXPECTED: &'static str = "text of 1 to 4096 bytes, in which \\r, \\n, \\t, \\0, \\\\ and \
                                    \\xHH stand for bytes, such as PING\\r\\n";
    const EXAMPLE: &'static str = "PING\\r\\n";

    fn read(text: &str) -> Result<Self, String> {
        match unescape(text.as_bytes()) {
            Ok(bytes) if (1..=BYTES_MOST).contains(&bytes.len()) => Ok(Self(bytes)),
            _ => Err(refused::<Self>(text)),
        }
    }

    fn show(&self) -> String {
        let mut text = String::new();
        for &byte in &self.0 {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'\r' => text.push_str("\\r"),
                b'\n' => text.push_str("\\n"),
                b'\t' => text.push_str("\\t"),
                0 => text.push_str("\\0"),
                b' '..=b'~' => text.push(char::from(byte)),
                byte => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        text
    }
}

/// A regular expression over bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyPattern(pub String);

impl Form for BodyPattern {
    const NAME: &'static str = "pattern";
    const EXPECTED: &'static str = "a regular expression, such as \"status\":\\s*\"up\"";
    const EXAMPLE: &'static str = "\"status\":\\s*\"up\"";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(refused::<Self>(text));
        }
        match Pattern::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => {
                // The engine draws a picture of many lines.
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default();
                let why = why.trim_start_matches("error: ");
                Err(format!(
                    "found {text:?}, expected a regular expression: {why}"
                ))
            }
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// As much as is read of an answer, and more than anybody writes into a file.
const BYTES_MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::tests::holds;
    use super::*;

    #[test]
    fn bytes_are_text_with_escapes_and_read_back() {
        let long = "x".repeat(4097);
        holds::<Octets>(
            &[
                "PING\\r\\n",
                "a b",
                "\\x00\\xff\\0\\t\\\\",
                "\u{e9}",
                "PING\r\n",
            ],
            &["", "\\q", "\\x4", "\\", &long],
        );
        assert_eq!(Octets::read("\\x41\r\\n").unwrap().show(), "A\\r\\n");
        assert_eq!(Octets::read("\u{e9}").unwrap().show(), "\\xc3\\xa9");
    }

    #[test]
    fn a_pattern_is_one_that_can_be_matched() {
        holds::<BodyPattern>(
            &["ok", "^(up|warn)$", "\\d+"],
            &["(", "a{1000}{1000}", "[z-a]"],
        );
        let told = BodyPattern::read("(").unwrap_err();
        assert!(told.contains("unclosed group"), "{told}");
    }
}
