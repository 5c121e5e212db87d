//! Tables for what is not a matter of dates: what is refused and with which words, what `H` comes to,
//! which schedules are fixed. The dates are in tests/schedules.rs and on its page.

use super::*;

fn job() -> JobKey {
    "host/backup".parse().unwrap()
}

#[test]
fn what_is_no_schedule_is_refused_with_a_way_out() {
    for (text, part) in [
        ("0 30 3 * * *", "did you mean \"30 3 * * *\" (03:30 daily)?"),
        ("0 0 3 * * MON 2027", "more than five fields"),
        ("* * *", "3 of five fields"),
        ("", "0 of five fields"),
        ("5/15 * * * *", "did you mean \"5-59/15\"?"),
        ("0 0 * * 1/2", "did you mean \"1-6/2\"?"),
        ("/10 * * * *", "did you mean \"*/10\"?"),
        ("60 * * * *", "it is a number from 0 to 59"),
        ("0 24 * * *", "`24` is no hour of a schedule"),
        ("0 MON * * *", "`MON` is no hour"),
        ("0 0 * * JAN", "or SUN to SAT"),
        ("0 0 * * SUNDAY", "did you mean \"SUN\"?"),
        ("0 0 1 sept *", "did you mean \"SEP\"?"),
        ("0 0 30 2 *", "this schedule never comes"),
        ("0 0 31W 2,4 *", "this schedule never comes"),
        ("0 22-6 * * *", "did you mean \"22-23,0-6\"?"),
        ("0 0 * nov-jan *", "did you mean \"NOV-DEC,JAN\"?"),
        ("0 0 * * fri-mon", "did you mean \"FRI-SUN,MON\"?"),
        ("0 0 ? * *", "did you mean \"*\"?"),
        ("@rebot", "and @reboot"),
        ("@Daily", "did you mean \"@daily\"?"),
        ("@every 6h", "write every = \"6h\""),
        ("CRON_TZ=Asia/Tokyo 0 3 * * *", "timezone = "),
        ("*/0 * * * *", "a step is a number from 1 to 59"),
        ("*/+5 * * * *", "a step is a number from 1 to 59"),
        ("*/90 * * * *", "every = \"90m\""),
        ("0 */24 * * *", "every = \"24h\""),
        ("0 0 * * FRI#6", "the second Friday"),
        ("0 0 * * L", "\"FRIL\" or \"5L\""),
        ("1,,2 * * * *", "`` is no minute"),
        ("0 0 * * +MON", "`+MON` is no day of week"),
        ("0 0 32W * *", "is no day of month"),
        ("0 0 W * *", "`W` is no day of month"),
        ("0 0 L-3 * *", "`L-3` is no day of month"),
        ("0~29 * * * *", "did you mean \"H(0-29)\"?"),
        ("~ * * * *", "did you mean \"H(0-59)\"?"),
        ("\u{0660} * * * *", "is no minute"),
        ("0 -1 * * *", "is no hour"),
        ("0 h * * *", "`h` is no hour"),
        ("HH * * * *", "H(0-5)/2"),
        ("H5 * * * *", "H(0-5)/2"),
        ("H(5) * * * *", "H(0-5)/2"),
        ("H() * * * *", "H(0-5)/2"),
        ("H(9-5) * * * *", "a range goes upwards"),
        ("H(0-99) * * * *", "it is a number from 0 to 59"),
        ("H/0 * * * *", "a step is a number from 1 to 59"),
        ("H/99 * * * *", "every = \"99m\""),
        ("H(0-5)/6 * * * *", "a step of H(0-5) is at most 5"),
        ("0 0 H(1-31) * *", "at most H(1-28)"),
        ("0 0 H(29-30) * *", "a day that every month has"),
    ] {
        let error = define(text, "UTC", &job(), 0).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(Schedule::parse("H 3 * * *", "UTC").unwrap_err().to_string().contains("there is no job here"));
    assert!(matches!(Schedule::parse("0 0 * * *", "Europe/Atlantis"), Err(BadSchedule::Zone(_))));
}

/// The numbers are for ever: a job that moved on an upgrade would run twice or not at all.
#[test]
fn an_h_is_made_from_the_name_of_the_job() {
    for (text, index, resolved) in [
        ("H 3 * * *", 0, Some("37 3 * * *")),
        ("H 3 * * *", 1, Some("14 3 * * *")),
        ("H H(0-5) H * *", 0, Some("37 5 7 * *")),
        ("H/15 * * * *", 0, Some("7-59/15 * * * *")),
        ("H(30-59)/10 * * * *", 0, Some("37-59/10 * * * *")),
        ("0 4 * * H(MON-FRI)", 0, Some("0 4 * * 2")),
        ("0,H  4 * * THU", 0, Some("0,37 4 * * THU")),
        ("0 4 * * THU", 0, None),
        ("@daily", 0, None),
        (" @reboot ", 0, None),
    ] {
        let def = define(text, "UTC", &job(), index).unwrap();
        assert_eq!(def.resolved.as_deref(), resolved, "{text}");
        assert_eq!(def.text, text.trim());
    }
    let other = define("H 3 * * *", "UTC", &"host/backups".parse().unwrap(), 0).unwrap();
    assert_ne!(other.resolved, define("H 3 * * *", "UTC", &job(), 0).unwrap().resolved);
}

/// Whatever the name: an `H` keeps within its field, and its days are in every month.
#[test]
fn an_h_keeps_within_its_bounds() {
    for n in 0..300 {
        let key: JobKey = format!("host/job{n}").parse().unwrap();
        let def = define("H H(2-4) H H H", "UTC", &key, n % 5).unwrap();
        let resolved = def.resolved.unwrap();
        let values: Vec<u32> = resolved.split(' ').map(|value| value.parse().unwrap()).collect();
        for (value, (first, last)) in values.iter().zip([(0, 59), (2, 4), (1, 28), (1, 12), (0, 6)]) {
            assert!((first..=last).contains(value), "{resolved}");
        }
        let def = define("H/20 H(0-5)/2 H/10 * *", "UTC", &key, 0).unwrap();
        let resolved = def.resolved.unwrap();
        let begins: Vec<u32> =
            resolved.split(' ').take(3).map(|value| value.split('-').next().unwrap().parse().unwrap()).collect();
        assert!(begins[0] < 20 && begins[1] < 2 && (1..=10).contains(&begins[2]), "{resolved}");
    }
}

/// The hour decides, as it is written.
#[test]
fn fixed_is_what_names_its_hour() {
    for (text, fixed) in [
        ("30 2 * * *", true),
        ("*/5 2 * * *", true),
        ("H 2 * * *", true),
        ("15 2,3 * * *", true),
        ("0 0-23 * * *", true),
        ("@daily", true),
        ("@hourly", false),
        ("0 */2 * * *", false),
        ("0 3,*/12 * * *", false),
        ("30 H * * *", false),
        ("30 H(2-2) * * *", false),
        ("30 4,H(0-1) * * *", false),
        ("@reboot", false),
    ] {
        let schedule = Schedule::of(&define(text, "UTC", &job(), 0).unwrap()).unwrap();
        assert_eq!(schedule.is_fixed(), fixed, "{text}");
        assert_eq!(schedule.is_reboot(), text == "@reboot", "{text}");
    }
}

#[test]
fn a_boot_has_no_time() {
    let reboot = define("@reboot", "Europe/Berlin", &job(), 0).unwrap();
    assert_eq!(Schedule::of(&reboot).unwrap().due_after(Timestamp::UNIX_EPOCH), None);
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
fn a_list_unites_and_an_instant_is_one() {
    let list: Vec<ScheduleDef> = ["0 3 * * *", "0 */3 * * *", "30 4 * * *", "@reboot"]
        .iter()
        .enumerate()
        .map(|(index, text)| define(text, "UTC", &job(), index).unwrap())
        .collect();
    let mut at: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let mut found = Vec::new();
    for _ in 0..4 {
        at = due_after(&list, at).unwrap().at;
        found.push(at.strftime("%H:%M").to_string());
    }
    assert_eq!(found, ["03:00", "04:30", "06:00", "09:00"]);
}

/// The ends of the calendar are no cliff.
#[test]
fn far_away_nothing_breaks() {
    for text in ["* * * * *", "0 0 29 2 *", "0 3 L * *", "*/7 * * * FRI#5"] {
        for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
            let schedule = Schedule::parse(text, zone).unwrap();
            for from in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
                assert!(schedule.due_after(from).is_none_or(|due| due.at > from), "{text} {zone} {from}");
            }
        }
    }
}

/// Ten thousand jobs keep ten thousand of them.
#[test]
fn a_schedule_is_small() {
    assert!(size_of::<Schedule>() <= 96, "{}", size_of::<Schedule>());
}
