//! Tables for schedules: the two clock changes of Berlin, impossible dates, what is refused and with
//! which words.

use super::*;

fn times(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(text, zone).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut at: Timestamp = from.parse().unwrap();
    let mut found = Vec::new();
    for _ in 0..count {
        let next = schedule.next_after(at).unwrap();
        assert!(next > at, "{text} from {at} gives {next}");
        found.push(next.to_zoned(TimeZone::get(zone).unwrap()).strftime("%d %H:%M%:z").to_string());
        at = next;
    }
    found
}

/// The table of Europe/Berlin 2027: gap on 28 March 02->03, fold on 31 October 03->02.
#[test]
fn a_change_of_the_clock_neither_loses_nor_doubles_a_named_time() {
    let (gap, fold) = ("2027-03-27T23:30:00Z", "2027-10-30T22:30:00Z");
    for (text, from, expected) in [
        ("30 2 * * *", gap, "28 03:00+02:00, 29 02:30+02:00"),
        ("30 2 * * *", fold, "31 02:30+02:00, 01 02:30+01:00"),
        ("0 0 * * *", "2027-03-27T12:00:00Z", "28 00:00+01:00, 29 00:00+02:00"),
        ("0 0 * * *", "2027-10-30T12:00:00Z", "31 00:00+02:00, 01 00:00+01:00"),
        ("30 3 * * *", gap, "28 03:30+02:00, 29 03:30+02:00"),
        ("*/15 * * * *", "2027-03-28T00:40:00Z", "28 01:45+01:00, 28 03:00+02:00, 28 03:15+02:00"),
        ("30 * * * *", "2027-10-30T23:40:00Z", "31 02:30+02:00, 31 02:30+01:00, 31 03:30+01:00"),
        (
            "*/15 * * * *",
            "2027-10-31T00:30:00Z",
            "31 02:45+02:00, 31 02:00+01:00, 31 02:15+01:00, 31 02:30+01:00, 31 02:45+01:00, 31 03:00+01:00",
        ),
        // A list of hours names them: as in Vixie's cron, and unlike croner's own answer.
        ("15 2,3 * * *", gap, "28 03:00+02:00, 28 03:15+02:00, 29 02:15+02:00"),
        ("15 2,3 * * *", fold, "31 02:15+02:00, 31 03:15+01:00, 01 02:15+01:00"),
        ("0 */2 * * *", fold, "31 02:00+02:00, 31 02:00+01:00, 31 04:00+01:00"),
        ("0 */2 * * *", gap, "28 04:00+02:00, 28 06:00+02:00"),
        // Two named times of one gap fall on its end once.
        ("0,30 2 * * *", gap, "28 03:00+02:00, 29 02:00+02:00, 29 02:30+02:00"),
        ("0,30 2 * * *", fold, "31 02:00+02:00, 31 02:30+02:00, 01 02:00+01:00"),
        // Between the passes: the time has been, and does not come again.
        ("30 2 * * *", "2027-10-31T01:05:00Z", "01 02:30+01:00"),
    ] {
        let expected: Vec<&str> = expected.split(", ").collect();
        assert_eq!(times(text, "Europe/Berlin", from, expected.len()), expected, "{text}");
    }
}

#[test]
fn fields_mean_what_cron_says() {
    let from = "2026-11-22T10:00:00Z"; // a Sunday
    for (text, expected) in [
        ("0 10 * * Mon-Thu", "23 10:00, 24 10:00, 25 10:00, 26 10:00, 30 10:00"),
        ("0 0 13 * FRI", "27 00:00, 04 00:00, 11 00:00, 13 00:00"),
        ("0 0 L * *", "30 00:00, 31 00:00, 31 00:00, 28 00:00"),
        ("0 0 LW * *", "30 00:00, 31 00:00, 29 00:00"),
        ("0 0 15W * *", "15 00:00, 15 00:00, 15 00:00"),
        ("0 0 * * FRI#2", "11 00:00, 08 00:00"),
        ("0 0 * * 5L", "27 00:00, 25 00:00"),
        ("0 0 29 2 *", "29 00:00, 29 00:00"),
        ("0 0 * * 7", "29 00:00, 06 00:00"),
        ("0 0 * * FRI-SUN", "27 00:00, 28 00:00, 29 00:00, 04 00:00"),
        ("30 8-10/2 * * *", "22 10:30, 23 08:30"),
        ("@daily", "23 00:00, 24 00:00"),
        ("@hourly", "22 11:00, 22 12:00"),
        ("0 10 * * *", "23 10:00"),
    ] {
        let expected: Vec<String> = expected.split(", ").map(|time| format!("{time}+00:00")).collect();
        assert_eq!(times(text, "UTC", from, expected.len()), expected, "{text}");
    }
}

#[test]
fn part_of_a_second_does_not_repeat_a_time() {
    let schedule = Schedule::parse("0 10 * * *", "UTC").unwrap();
    for (from, next) in
        [("2026-11-22T09:59:59.999Z", "2026-11-22T10:00:00Z"), ("2026-11-22T10:00:00.001Z", "2026-11-23T10:00:00Z")]
    {
        assert_eq!(schedule.next_after(from.parse().unwrap()), Some(next.parse().unwrap()));
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_a_way_out() {
    for (text, part) in [
        ("0 30 3 * * *", "did you mean \"30 3 * * *\" (03:30 daily)?"),
        ("0 0 3 * * MON 2027", "more than five fields"),
        ("* * *", "3 of five fields"),
        ("", "0 of five fields"),
        ("5/15 * * * *", "did you mean \"5-59/15\"?"),
        ("/10 * * * *", "did you mean \"*/10\"?"),
        ("60 * * * *", "it is a number from 0 to 59"),
        ("0 24 * * *", "`24` is no hour of a schedule"),
        ("0 MON * * *", "`MON` is no hour"),
        ("0 0 * * JAN", "or SUN to SAT"),
        ("0 0 * * SUNDAY", "`SUNDAY` is no day of week"),
        ("0 0 30 2 *", "this schedule never comes"),
        ("0 17-9 * * *", "did you mean \"9-17\"?"),
        ("0 0 ? * *", "did you mean \"*\"?"),
        ("@rebot", "there are @hourly"),
        ("*/0 * * * *", "a step is a number from 1 to 59"),
        ("0 0 * * FRI#6", "the second Friday"),
        ("1,,2 * * * *", "`` is no minute"),
        ("0 0 * * +MON", "`+MON` is no day of week"),
        ("0 0 32W * *", "is no day of month"),
        ("\u{0660} * * * *", "is no minute"),
    ] {
        let error = Schedule::parse(text, "UTC").unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(matches!(Schedule::parse("0 0 * * *", "Europe/Atlantis"), Err(BadSchedule::Zone(_))));
}

#[test]
fn patterns_are_shared() {
    let one = Schedule::parse("7 7 7 7 *", "UTC").unwrap();
    let two = Schedule::parse("7 7 7 7 *", "Europe/Berlin").unwrap();
    assert!(Arc::ptr_eq(&one.pattern, &two.pattern));
}

/// Every zone: times come in order, and a named time comes on every day.
#[test]
fn a_named_time_comes_once_a_day_in_every_zone() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "America/Sao_Paulo"] {
        for text in ["30 2 * * *", "0 0 * * *", "45 1 * * *", "15 2 * * *"] {
            let schedule = Schedule::parse(text, zone).unwrap();
            let tz = TimeZone::get(zone).unwrap();
            let mut at: Timestamp = "2017-01-01T12:00:00Z".parse().unwrap();
            let mut day = at.to_zoned(tz.clone()).date();
            for _ in 0..800 {
                let next = schedule.next_after(at).unwrap();
                let next_day = next.to_zoned(tz.clone()).date();
                // From noon of one day on the first may still be on that day.
                let ahead = day.until(next_day).unwrap().get_days();
                assert!(ahead == 1 || (ahead == 0 && at < next), "{zone} {text}: {day} then {next_day}");
                (at, day) = (next, next_day);
            }
        }
    }
}
