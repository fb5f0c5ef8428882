//! All histories end as the model says.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::operations::run;
use super::world::agree;

/// The same 300 histories each time, or as many times that, at random, as `RISEFALL_LONG` says.
fn config() -> ProptestConfig {
    match std::env::var("RISEFALL_LONG") {
        Ok(times) => ProptestConfig::with_cases(300 * times.parse::<u32>().unwrap()),
        Err(_) => ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::with_cases(300)
        },
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_registry_agrees_with_the_model(run in run()) {
        if let Err(fault) = agree(&run) {
            return Err(TestCaseError::fail(fault));
        }
    }
}
