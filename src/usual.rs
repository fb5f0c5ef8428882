//! How long a connect usually takes, in five bits.
//!
//! A log scale of half octaves from 125 µs to 4 s. Written only when the time has moved by more
//! than a step, and then by one step, so that one late answer changes little and a steady address
//! is never written to.

use std::time::Duration;

/// 0 when nothing is known, else the number of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Usual(u8);

impl Usual {
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits as u8 & LAST)
    }

    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.0)
    }

    /// The upper end of the step.
    pub(crate) fn time(self) -> Option<Duration> {
        let half_octaves = u32::from(self.0.checked_sub(1)?);
        let whole = FIRST * (1 << (half_octaves / 2));
        // A half octave is a factor of the square root of two.
        Some(if half_octaves % 2 == 0 {
            whole
        } else {
            whole * 1414 / 1000
        })
    }

    /// What becomes of it after a connect that took `took`; `None` when nothing does.
    pub(crate) fn after(self, took: Duration) -> Option<Self> {
        let step = (1..LAST)
            .find(|&step| Self(step).time().is_some_and(|time| took <= time))
            .unwrap_or(LAST);
        match self.0 {
            0 => Some(Self(step)),
            usual if step > usual + 1 => Some(Self(usual + 1)),
            usual if step + 1 < usual => Some(Self(usual - 1)),
            _ => None,
        }
    }
}

const FIRST: Duration = Duration::from_micros(125);
const LAST: u8 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: &[u64]) -> Usual {
        times.iter().fold(Usual(0), |usual, &millis| {
            usual.after(Duration::from_millis(millis)).unwrap_or(usual)
        })
    }

    #[test]
    fn the_first_answer_is_believed_at_once_and_rounded_up() {
        assert_eq!(Usual(0).time(), None);
        let usual = after(&[10]).time().unwrap();
        assert!(usual >= Duration::from_millis(10) && usual < Duration::from_millis(15));
    }

    #[test]
    fn one_late_answer_moves_it_by_half_an_octave() {
        let [steady, late] = [&[10][..], &[10, 1000]].map(|times| after(times).time().unwrap());
        assert!(late > steady && late < 2 * steady);
        assert_eq!(
            after(&[10, 1000, 10, 10, 10]).time(),
            Some(late),
            "within a step"
        );
    }

    #[test]
    fn a_steady_address_is_not_written_to() {
        let usual = after(&[10]);
        for millis in 8..16 {
            assert_eq!(
                usual.after(Duration::from_millis(millis)),
                None,
                "{millis} ms"
            );
        }
    }

    #[test]
    fn it_follows_an_address_that_has_moved_away() {
        let far = after(&[1; 1].iter().copied().chain([200; 30]).collect::<Vec<_>>());
        let time = far.time().unwrap();
        assert!(time >= Duration::from_millis(100) && time < Duration::from_millis(300));
        assert_eq!(after(&[100_000]), Usual(LAST));
        assert_eq!(Usual(1).after(Duration::ZERO), None);
    }
}
