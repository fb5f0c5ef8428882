mod counted;
mod dials;
mod judging;
mod sharing;
mod speaking;
mod world;
