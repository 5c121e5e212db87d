//! Windows against tables, and against a model that looks at the wall clock minute by minute.

use proptest::prelude::*;

use super::*;

fn windows(windows: &[&[&str]], freezes: &[&str], zone: &str) -> Windows {
    let window = |any_of: &&[&str]| WindowDef {
        any_of: any_of.iter().map(|text| (*text).to_owned()).collect(),
        zone: zone.to_owned(),
    };
    let freeze = |text: &&str| FreezeDef { text: (*text).to_owned(), zone: zone.to_owned() };
    let windows: Vec<WindowDef> = windows.iter().map(window).collect();
    let freezes: Vec<FreezeDef> = freezes.iter().map(freeze).collect();
    Windows::parse(&windows, &freezes).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn openings_and_ends() {
    let office = windows(&[&["Mon-Thu 09:00-17:00"]], &[], "Asia/Shanghai");
    // Friday 2026-11-27 17:55 in Berlin: closed until Monday 09:00 in Shanghai.
    let friday = at("2026-11-27T16:55:00Z");
    assert_eq!(office.at(friday), Opening::Closed { opens: Some(at("2026-11-30T01:00:00Z")) });
    assert_eq!(office.end_of_first_stretch_after(friday), Some(at("2026-11-30T09:00:00Z")));
    let inside = at("2026-11-30T02:00:00Z");
    assert_eq!(office.at(inside), Opening::Open);
    // Approved inside a stretch: it lives to the end of the next one.
    assert_eq!(office.end_of_first_stretch_after(inside), Some(at("2026-12-01T09:00:00Z")));
    // The end itself is outside, the beginning inside.
    assert_eq!(office.at(at("2026-11-30T01:00:00Z")), Opening::Open);
    assert_ne!(office.at(at("2026-11-30T09:00:00Z")), Opening::Open);
    // A stretch that begins at `from` does not begin after it.
    assert_eq!(office.end_of_first_stretch_after(at("2026-11-30T01:00:00Z")), Some(at("2026-12-01T09:00:00Z")));
}

#[test]
fn freezes_win_and_stretches_may_pass_midnight() {
    let frozen = windows(&[&["Mon-Thu 09:00-17:00"]], &["2026-12-20..2027-01-03"], "UTC");
    let closed = Opening::Closed { opens: Some(at("2027-01-04T09:00:00Z")) };
    assert_eq!(frozen.at(at("2026-12-22T10:00:00Z")), closed);
    assert_eq!(frozen.at(at("2026-12-17T17:00:00Z")), closed);
    let night = windows(&[&["Sun 22:00-04:00"]], &[], "UTC");
    assert_eq!(night.at(at("2026-11-23T03:59:00Z")), Opening::Open); // a Monday
    assert_ne!(night.at(at("2026-11-23T04:00:00Z")), Opening::Open);
    assert_ne!(night.at(at("2026-11-24T03:00:00Z")), Opening::Open);
    let weekend = windows(&[], &["Fri 16:00-Mon 08:00"], "UTC");
    assert!(!weekend.has_windows());
    assert_eq!(weekend.at(at("2026-11-27T16:00:00Z")), Opening::Closed { opens: Some(at("2026-11-30T08:00:00Z")) });
    assert_eq!(weekend.at(at("2026-11-27T15:59:59Z")), Opening::Open);
    let one_day = windows(&[&["Mon,Wed 00:00-24:00", "Sat"]], &["2026-11-25"], "UTC");
    assert_eq!(one_day.at(at("2026-11-24T12:00:00Z")), Opening::Closed { opens: Some(at("2026-11-28T00:00:00Z")) });
}

#[test]
fn two_windows_must_both_be_open() {
    let both = windows(&[&["Mon-Fri 08:00-12:00"], &["10:00-20:00"]], &[], "UTC");
    assert_eq!(both.at(at("2026-11-23T09:00:00Z")), Opening::Closed { opens: Some(at("2026-11-23T10:00:00Z")) });
    assert_eq!(both.end_of_first_stretch_after(at("2026-11-23T09:00:00Z")), Some(at("2026-11-23T12:00:00Z")));
    let never = windows(&[&["Mon 08:00-12:00"], &["Tue"]], &[], "UTC");
    assert_eq!(never.at(at("2026-11-23T09:00:00Z")), Opening::Closed { opens: None });
    assert_eq!(never.end_of_first_stretch_after(at("2026-11-23T09:00:00Z")), None);
    assert_eq!(windows(&[], &[], "UTC").at(at("2026-11-23T09:00:00Z")), Opening::Open);
    assert_eq!(windows(&[], &[], "UTC").end_of_first_stretch_after(at("2026-11-23T09:00:00Z")), None);
}

#[test]
fn an_approval_outlives_a_freeze() {
    let week = Seconds::days(7);
    let frozen = windows(&[], &["2026-12-20..2027-01-03"], "UTC");
    assert_eq!(frozen.after_open_for(at("2026-12-18T00:00:00Z"), week), at("2027-01-09T00:00:00Z"));
    assert_eq!(frozen.after_open_for(at("2026-12-25T00:00:00Z"), week), at("2027-01-11T00:00:00Z"));
    assert_eq!(windows(&[], &[], "UTC").after_open_for(at("2026-12-25T00:00:00Z"), week), at("2027-01-01T00:00:00Z"));
}

#[test]
fn wider_is_judged_on_the_clock_of_both() {
    let def = |text: &str, zone: &str| WindowDef { any_of: vec![text.into()], zone: zone.into() };
    let office = def("Mon-Thu 09:00-17:00", "Europe/Berlin");
    for (inner, zone, wider) in [
        ("Mon-Thu 09:00-17:00", "Europe/Berlin", false),
        ("Tue 10:00-12:00", "Europe/Berlin", false),
        ("Mon-Fri 09:00-17:00", "Europe/Berlin", true),
        ("Mon-Thu 10:00-12:00", "UTC", false),
        ("Mon-Thu 09:00-16:00", "UTC", true),
    ] {
        assert_eq!(Windows::wider(&def(inner, zone), &office), wider, "{inner} {zone}");
    }
}

#[test]
fn what_is_no_window_is_refused() {
    for text in [
        "",
        "always",
        "Mon-Thu",
        "Mon-Thu 9-17",
        "Mon-Thu 09:00",
        "25:00-26:00",
        "09:00-09:00",
        "Mo 09:00-10:00",
        "09:60-10:00",
        "24:00-01:00",
        "Mon 09:00 - 17:00",
        "Mon 09:00-Mon 09:00",
        "Mon, Wed 09:00-10:00",
        "+9:00-10:00",
    ] {
        let def = WindowDef { any_of: vec![text.into()], zone: "UTC".into() };
        let parsed = Windows::parse(&[def], &[]);
        assert_eq!(parsed.is_ok(), text == "Mon-Thu", "{text}: {parsed:?}");
    }
    for text in ["2026-13-01", "2026-12-20..2026-12-19", "2026-12-20..", "20261220", "2026-12-20T10:00", "soon"] {
        let freeze = FreezeDef { text: text.into(), zone: "UTC".into() };
        assert!(Windows::parse(&[], &[freeze]).is_err(), "{text}");
    }
}

/// The slow model: what the wall clock shows, minute by minute, from the definitions of the texts.
fn slow_open(starts: (u32, u32), days: u32, frozen: (Date, Date), zone: &TimeZone, at: Timestamp) -> bool {
    let wall = zone.to_datetime(at);
    let minute = u32::try_from(wall.hour()).unwrap() * 60 + u32::try_from(wall.minute()).unwrap();
    let day = u32::try_from(wall.weekday().to_monday_zero_offset()).unwrap();
    let on = |day: u32| days & (1 << (day % 7)) != 0;
    let (start, end) = starts;
    let open = match start < end {
        true => on(day) && (start..end).contains(&minute),
        false => (on(day) && minute >= start) || (on(day + 6) && minute < end),
    };
    open && !(frozen.0..=frozen.1).contains(&wall.date())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_search_agrees_with_the_slow_model(
        start in 0_u32..1440, length in 1_u32..1440, days in 1_u32..128, zone in 0_usize..4,
        begin in 0_i64..200, freeze in 0_i32..12, frozen_days in 0_i32..4, spring in any::<bool>(),
    ) {
        let zone_name = ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "UTC"][zone];
        let zone = TimeZone::get(zone_name).unwrap();
        // Around the changes of the clock, where it is hard.
        let base = if spring { "2027-03-24T00:00:00Z" } else { "2027-10-28T00:00:00Z" };
        let from = at(base) + jiff::SignedDuration::from_mins(begin * 30);
        let end = (start + length) % 1440;
        prop_assume!(end != start);
        let names: Vec<&str> = (0..7).filter(|day| days & (1 << day) != 0).map(|day| DAYS[day]).collect();
        let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let window = format!("{} {}-{}", names.join(","), clock(start), clock(end));
        let first = zone.to_datetime(from).date() + jiff::Span::new().days(freeze);
        let last = first + jiff::Span::new().days(frozen_days);
        let fast = windows(&[&[&window]], &[&format!("{first}..{last}")], zone_name);
        let slow = |at| slow_open((start, end), days, (first, last), &zone, at);
        let mut expected = None;
        for minute in 0..40_000_i64 {
            let now = from + jiff::SignedDuration::from_mins(minute);
            if slow(now) != slow(from) {
                expected = Some(now);
                break;
            }
        }
        prop_assert_eq!(fast.open(from), slow(from), "{} {}", window, zone_name);
        prop_assert_eq!(fast.next_change(from), expected, "{} in {} from {}", window, zone_name, from);
    }
}
