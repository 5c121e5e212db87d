//! Five seconds of damaged schedules. `make fuzz` does the same for longer, and looks where it goes.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::probe::probe;
use crate::random::Random;
use crate::texts;

const FOR: Duration = Duration::from_secs(5);
const PARTS: [&str; 38] = [
    "*",
    "/",
    "-",
    ",",
    "#",
    "L",
    "W",
    "LW",
    "H",
    "H(",
    ")",
    "H/15",
    "H(0-29)",
    " ",
    "  ",
    "\t",
    "@",
    "@daily",
    "@reboot",
    "@every 6h",
    "~",
    "?",
    "+",
    "0",
    "7",
    "59",
    "60",
    "99999999999999999999",
    "MON",
    "FRI#2",
    "5L",
    "jan",
    "TZ=UTC",
    "\u{0660}",
    "\u{202e}",
    "\0",
    "\u{1b}[2J",
    "ÄÖ",
];

fn damage(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.below(4) {
        let at = usize::try_from(random.below(chars.len() as u64 + 1)).unwrap();
        match random.below(4) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 => chars.extend(random.pick(&PARTS).unwrap().chars()),
            2 if at < chars.len() => chars.truncate(at),
            _ => drop(chars.splice(at..at, random.pick(&PARTS).unwrap().chars())),
        }
    }
    chars.into_iter().collect()
}

#[test]
fn no_text_breaks_the_reader() {
    let mut random = Random::new(crate::seed());
    let started = Instant::now();
    let (mut good, mut bad) = (0_u64, 0_u64);
    while started.elapsed() < FOR {
        let second = texts::number(&mut random, 4_102_444_800);
        let from = Timestamp::from_second(second).unwrap();
        let wall = from.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let text = match random.below(4) {
            0 => texts::daily(&mut random),
            1 => (0..random.below(9)).map(|_| *random.pick(&PARTS).unwrap()).collect(),
            _ => texts::around(&mut random, wall),
        };
        let text = damage(&text, &mut random);
        let [zone, index] = [4, 3].map(|below| usize::try_from(random.below(below)).unwrap());
        if probe(&text, from, zone, index) { good += 1 } else { bad += 1 }
    }
    println!("{good} schedules, {bad} refused");
    assert!(good > 500 && bad > 500, "{good} schedules, {bad} refused: too little was tried");
}
