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

/// So many jobs on each of so many hosts; each host has a history of its own.
fn live(hosts: u64, jobs: usize) {
    let seed = number("SHIPBELL_SEED").unwrap_or(3);
    let years = number("SHIPBELL_YEARS").unwrap_or(10);
    println!("SHIPBELL_SEED={seed} SHIPBELL_YEARS={years}, {hosts} hosts of {jobs} jobs");
    let begin = std::time::Instant::now();
    let one = |seed| {
        let mut random = Random::new(seed);
        let mut robot = Robot::new(&mut random, jobs);
        robot.live(&mut random, years);
        let told = robot.check();
        println!("seed {seed}: {told}, {:?}", begin.elapsed());
        robot.due_times()
    };
    let due: u64 = std::thread::scope(|scope| {
        let one = &one;
        let hosts: Vec<_> = (0..hosts).map(|host| scope.spawn(move || one(seed + host))).collect();
        hosts.into_iter().map(|host| host.join().unwrap()).sum()
    });
    assert!(years < 10 || due >= 1_000_000, "too few due times: {due}");
}

/// A hundred jobs; without optimization they are two hosts, so that both cores have their half.
#[test]
fn ten_years_of_due_times() {
    if cfg!(debug_assertions) { live(2, 50) } else { live(1, 100) }
}
