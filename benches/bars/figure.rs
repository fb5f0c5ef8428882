//! A figure in all rounds, and what it has to reach.

use std::fmt;
use std::ops::{Div, Sub};

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    None,
    AtMost(f64),
    /// The bar, and what is aimed at beyond it.
    AtLeast(f64, Option<f64>),
}

impl Bar {
    pub(crate) fn holds(self, median: f64) -> &'static str {
        let holds = match self {
            Self::None => return "-",
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least, _) => median >= least,
        };
        if holds { "yes" } else { "NO" }
    }
}

/// Bar and aim, two cells.
impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => write!(f, "- | -"),
            Self::AtMost(most) => write!(f, "<= {most} | -"),
            Self::AtLeast(least, None) => write!(f, ">= {least} | -"),
            Self::AtLeast(least, Some(aim)) => write!(f, ">= {least} | {aim}"),
        }
    }
}

/// One figure in all rounds.
pub(crate) struct Series(pub(crate) Vec<f64>);

impl Series {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Round by round.
    fn with(self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(&a, &b)| combine(a, b)).collect())
    }
}

impl Sub<&Series> for Series {
    type Output = Self;

    fn sub(self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}

impl Div<&Series> for Series {
    type Output = Self;

    fn div(self, other: &Self) -> Self {
        self.with(other, |a, b| a / b)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = self.sorted();
        let least = sorted.first().copied().unwrap_or(f64::NAN);
        let most = sorted.last().copied().unwrap_or(f64::NAN);
        write!(f, "{:.2} ({least:.2}..{most:.2})", self.median())
    }
}
