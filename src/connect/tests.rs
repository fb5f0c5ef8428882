//! Races on paused time, without sockets. The registry is the real one, on the same paused clock.

mod crowd;
mod dropping;
mod ending;
mod judging;
mod racing;
mod world;
