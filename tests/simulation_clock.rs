//! Ten years of a hundred timed jobs: reboots, crashes, long downtimes, suspend, a clock that is set
//! ahead and back, pauses, and schedules that are edited. Beside it an enumeration of its own says which
//! due times there were: each has exactly one verdict and at most one run.
//! `SHIPBELL_SEED` repeats one history, `SHIPBELL_YEARS` makes it longer or shorter.

#[path = "simulation_clock/model.rs"]
mod model;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation_clock/robot.rs"]
mod robot;

use random::Random;
use robot::Robot;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn ten_years_of_due_times() {
    let seed = number("SHIPBELL_SEED").unwrap_or(3);
    // Ten years take a minute with optimization (`make sim`) and several without.
    let years = number("SHIPBELL_YEARS").unwrap_or(if cfg!(debug_assertions) { 1 } else { 10 });
    println!("SHIPBELL_SEED={seed} SHIPBELL_YEARS={years}");
    let begin = std::time::Instant::now();
    let mut random = Random::new(seed);
    let mut robot = Robot::new(&mut random);
    robot.live(&mut random, years);
    let told = robot.check();
    println!("{told}, {:?}", begin.elapsed());
    assert!(years < 10 || robot.due_times() >= 1_000_000, "too few due times: {told}");
}
