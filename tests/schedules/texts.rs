//! Random schedules: what people write, and what they hardly ever do, near a given time on the wall.

use jiff::civil::DateTime;

use crate::random::Random;

fn one<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
    random.pick(of).unwrap()
}

pub fn number(random: &mut Random, below: i64) -> i64 {
    i64::try_from(random.below(below.unsigned_abs())).unwrap()
}

/// Five fields of which many name the hour of `wall` or the next, and some its day.
pub fn around(random: &mut Random, wall: DateTime) -> String {
    let minute = match random.below(4) {
        0 => number(random, 60).to_string(),
        _ => one(random, &["0", "30", "*/15", "*", "15,45", "59", "*/7", "0-40/20", "0,1,58-59"]).to_owned(),
    };
    let (hour, next) = (wall.hour(), (wall.hour() + 1) % 24);
    let hour = match random.below(8) {
        0 | 1 => hour.to_string(),
        2 => next.to_string(),
        3 => format!("{hour},{next}"),
        4 => number(random, 24).to_string(),
        _ => one(
            random,
            &["*", "*/2", "*/5", "0-3", "0-23", "0-5/2", "22-23,0-1", "23,0", "H", "H(0-3)", "H/6", "0,12,*/9"],
        )
        .to_owned(),
    };
    let [day, weekday] = match random.below(6) {
        0..4 => ["*".to_owned(), "*".to_owned()],
        4 => [wall.day().to_string(), "*".to_owned()],
        _ => [days(random), weekdays(random)],
    };
    format!("{minute} {hour} {day} {} {weekday}", if random.one_in(4) { wall.month().to_string() } else { "*".into() })
}

/// Five fields with one time of day; the day is anything.
pub fn daily(random: &mut Random) -> String {
    let months = one(random, &["*", "*", "*", "2", "2", "feb,NOV", "*/5", "3-9/3", "12"]);
    format!("{} {} {} {months} {}", number(random, 60), number(random, 24), days(random), weekdays(random))
}

fn days(random: &mut Random) -> String {
    let day = 1 + number(random, 31);
    match random.below(7) {
        0 | 1 => "*".into(),
        2 => day.to_string(),
        3 => format!("{day}W"),
        4 => format!("{},L", 1 + number(random, 28)),
        _ => one(random, &["*/2", "L", "LW", "*/9", "29-31", "1-7", "13", "29", "1W,31W", "30,31"]).into(),
    }
}

fn weekdays(random: &mut Random) -> String {
    let day = number(random, 8);
    match random.below(7) {
        0 | 1 => "*".into(),
        2 => day.to_string(),
        3 => format!("{day}L"),
        4 => format!("{day}#{}", 1 + number(random, 5)),
        _ => one(random, &["MON-FRI", "*/2", "*/7", "0,7", "sat,SUN", "5-7", "1-5/2", "5#5,1L"]).into(),
    }
}
