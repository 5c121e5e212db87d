//! Random lines of both old dialects: what comes is always read by the loader, and fires when the old
//! scheduler would have, outside of the differences that docs/coming-over.md names. And random texts: nothing
//! that is read makes an importer panic or write what the loader refuses.

use std::path::Path;

use proptest::prelude::*;
use shipbell::cli::import::compare::{Compared, compare};
use shipbell::cli::import::crontab::{self, Form};
use shipbell::cli::import::draft::{Abilities, Host, Import};
use shipbell::cli::import::prow;
use shipbell::config::{self, Layout, Trust};
use shipbell::model::catalog::Catalog;

fn host(zone: &str) -> Host {
    Host { zone: zone.into(), default_zone: "UTC".into(), can: Abilities::default() }
}

/// What the loader makes of an import; it must take all of it.
fn loaded(import: &Import) -> Catalog {
    let layout = Layout::new(Some(Path::new("/nonexistent")));
    let mut catalog = Catalog::default();
    for file in &import.files {
        let path = format!("{}.toml", file.name);
        let found = config::check_text(&layout, &Trust::root_and_self(), Path::new(&path), &file.text);
        let problems: Vec<String> = found.problems.into_iter().map(|problem| problem.text).collect();
        assert!(problems.is_empty(), "refused:\n{}\n{}", problems.join("\n"), file.text);
        catalog.pipelines.extend(found.catalog.pipelines);
    }
    catalog
}

fn of_crontab(text: &str, zone: &str, from: &str) -> Compared {
    let form = Form::User(Some("web".into()));
    let import = crontab::translate("crontab", &"crontab".parse().unwrap(), text, &form, &host(zone));
    compare(&import.timed, &loaded(&import), from.parse().unwrap())
}

fn of_prow(cron: &str) -> Compared {
    let text = format!("periodics:\n- name: a\n  cron: \"{cron}\"\n  spec: {{containers: [{{command: [x]}}]}}\n");
    let source = prow::Source { name: "x.yaml".into(), text };
    let import = prow::translate(&[source], &host("Europe/Berlin"));
    compare(&import.timed, &loaded(&import), "2026-11-22T00:00:00Z".parse().unwrap())
}

/// A field of values from `first` to `last`.
fn field(first: u32, last: u32) -> impl Strategy<Value = String> {
    let range = move || (first..=last, first..=last).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let item = prop_oneof![
        3 => (first..=last).prop_map(|n| n.to_string()),
        2 => range().prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (range(), 1..20_u32).prop_map(|((a, b), step)| format!("{a}-{b}/{step}")),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (1..40_u32).prop_map(|step| format!("*/{step}")),
        4 => proptest::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

fn five(weekday_last: u32) -> impl Strategy<Value = Vec<String>> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, weekday_last))
        .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

/// Both days restricted, one of them by a step wider than the field: which a schedule cannot say.
fn is_declared(compared: &Compared, fields: &[String]) -> bool {
    let wide = |field: &str| field.strip_prefix("*/").and_then(|step| step.parse::<u32>().ok());
    compared.is_equal()
        || (wide(&fields[2]).is_some_and(|step| step > 30) && fields[4] != "*")
        || (wide(&fields[4]).is_some_and(|step| step > 7) && fields[2] != "*")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_crontab_fires_as_before(fields in five(7)) {
        let compared = of_crontab(&format!("{} x\n", fields.join(" ")), "UTC", "2026-11-22T00:00:00Z");
        prop_assert!(is_declared(&compared, &fields), "{:?} {compared:?}", fields);
    }

    /// Minute and hour both without or the hour with a star: there the two rules for a changed clock agree.
    #[test]
    fn a_crontab_fires_as_before_across_a_change_of_the_clock(
        minute in 0..60_u32, hour in 0..4_u32, wild in any::<bool>(), zone in 0..3_usize,
    ) {
        let zone = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"][zone];
        let hour = if wild { "*".to_owned() } else { hour.to_string() };
        for from in ["2027-02-20T00:00:00Z", "2026-09-20T00:00:00Z"] {
            let compared = of_crontab(&format!("{minute} {hour} * * * x\n"), zone, from);
            prop_assert!(compared.is_equal(), "{minute} {hour} in {zone}: {compared:?}");
        }
    }

    #[test]
    fn prows_crons_fire_as_before(fields in five(6)) {
        let compared = of_prow(&fields.join(" "));
        prop_assert!(compared.is_equal(), "{:?} {compared:?}", fields);
    }

    #[test]
    fn no_crontab_breaks_the_importer(
        lines in proptest::collection::vec(
            prop_oneof![
                "\\PC{0,40}",
                "[-*@0-9,/~ \\t%\\\\='\"A-Za-z$#{}]{0,60}",
                "(\\* ){5}[ -~]{1,40}",
                "(MAILTO|SHELL|PATH|HOME|CRON_TZ|user|A)[ =]{1,3}[ -~]{0,20}",
            ],
            0..12,
        ),
        system in any::<bool>(),
    ) {
        let form = if system { Form::System } else { Form::User(None) };
        let text = lines.join("\n");
        loaded(&crontab::translate("crontab", &"crontab".parse().unwrap(), &text, &form, &host("Europe/Berlin")));
    }

    /// A real configuration with a few characters changed.
    #[test]
    fn no_yaml_breaks_the_importer(cuts in proptest::collection::vec((any::<prop::sample::Index>(), "[ -~\\n]{0,3}", 0..6_usize), 1..6)) {
        let mut text = include_str!("../data/import/prow.yaml").to_owned();
        for (at, new, gone) in cuts {
            let start = at.index(text.len());
            let end = (start + gone).min(text.len());
            text.replace_range(start..end, &new);
        }
        loaded(&prow::translate(&[prow::Source { name: "x.yaml".into(), text }], &host("UTC")));
    }
}

/// Where the rules for a changed clock differ the difference is told: cron looks at the minute as well.
#[test]
fn the_declared_difference_is_told() {
    let compared = of_crontab("*/30 2 * * * x\n", "Europe/Berlin", "2027-02-20T00:00:00Z");
    assert_eq!((compared.jobs[0].old, compared.jobs[0].new), (179, 180));
    let (at, of_old) = compared.jobs[0].first[0];
    assert_eq!((at.to_string().as_str(), of_old), ("2027-03-28T01:00:00Z", false));
}

/// What this version cannot say is told with its line; once it can, it is written.
#[test]
fn importers_write_what_the_version_knows() {
    let form = Form::User(Some("web".into()));
    let crontab = "@reboot /opt/x/warm-up.sh\n";
    let prow = "periodics:\n- name: a\n  cron: \"0 3 * * *\"\n  annotations:\n    testgrid-num-failures-to-alert: '4'\n    \
                testgrid-alert-stale-results-hours: '12'\n  spec: {containers: [{command: [x]}]}\n";
    for able in [false, true] {
        let can = Abilities { reboot: able, after_failures: able, stale_after: able, overlap_allow: able };
        let host = Host { can, ..host("UTC") };
        let of_cron = crontab::translate("crontab", &"crontab".parse().unwrap(), crontab, &form, &host);
        assert_eq!(of_cron.files.iter().any(|file| file.text.contains("schedule = \"@reboot\"")), able);
        assert_eq!(of_cron.said.iter().any(|said| said.lost && said.line == 1), !able);
        let source = prow::Source { name: "x.yaml".into(), text: prow.into() };
        let of_prow = prow::translate(&[source], &host);
        assert_eq!(of_prow.files[0].text.contains("after-failures = 4, stale-after = \"12h\""), able);
        let lines: Vec<usize> = of_prow.said.iter().filter(|said| said.lost).map(|said| said.line).collect();
        assert_eq!(lines, if able { vec![] } else { vec![5, 6] });
    }
}

#[test]
fn prows_dialect_by_hand() {
    for cron in ["0 0 */2 * 1", "5/15 * * * *", "0 3 1,15 * FRI", "0 0 ? * MON", "@daily", "@weekly", "0 0 5,* * 1"] {
        let compared = of_prow(cron);
        assert!(compared.is_equal() && compared.jobs[0].old > 0, "{cron}: {compared:?}");
    }
}
