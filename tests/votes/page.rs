//! Votes with codes, in a whole Shipbell: enrolled by the command, typed into the page and on the terminal, and
//! what becomes of them when it is killed in between, or when somebody writes votes into its database.

use std::io::Write as _;
use std::process::{Command, Stdio};

use shipbell::model::time::Timestamp;
use shipbell::totp::{Seed, step_at};

use super::browser::Browser;
use super::support::robot::Robot;

struct Office {
    robot: Robot,
    anna: Seed,
    ben: Seed,
}

/// What a phone shows, so many steps from now.
fn code(seed: &Seed, steps: i64) -> String {
    seed.code(step_at(Timestamp::now().as_second()).saturating_add_signed(steps)).to_string()
}

/// What the command prints where nobody sees pictures: one line for a phone.
fn enrolled(robot: &Robot, who: &str) -> Seed {
    let said = robot.run_with_input(&["totp", who], "");
    assert_eq!(said.code, 0, "{said:?}");
    let uri = said.out.lines().find(|line| line.starts_with("otpauth://totp/Shipbell%20")).expect("an address");
    assert!(uri.contains(&format!(":{who}?secret=")), "{uri}");
    Seed::read(uri.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).unwrap()).unwrap()
}

impl Office {
    /// Production wants one code of anna, who is the caller, or of ben.
    fn new() -> Self {
        let login = shipbell::sys::host::user_name_of(shipbell::sys::host::effective_uid());
        let robot = Robot::new(&format!(
            "[person.anna]\nemail = \"anna@example.org\"\nlogin = \"{login}\"\ntotp = \"totp-anna\"\n\
             [person.ben]\nemail = \"ben@example.org\"\ntotp = \"totp-ben\"\n"
        ));
        let file = format!(
            "[job.production]\nmanual = true\nenvironment = \"production\"\nsteps = \"echo deployed >> {}\"\n\
             [environment.production]\napproval = {{ by = [\"anna\", \"ben\"], factor = \"totp\" }}\n",
            robot.path("deployed").display()
        );
        robot.job_file("app", &file);
        let (anna, ben) = (enrolled(&robot, "anna"), enrolled(&robot, "ben"));
        Self { robot, anna, ben }
    }

    fn link_of(&self, who: &str, request: u64) -> String {
        let asks = |mail: &super::support::robot::Mail| {
            mail.to.starts_with(who)
                && mail.subject.starts_with("Approve?")
                && mail.text.contains(&format!("request r-{request}"))
        };
        let sent = || self.robot.mails().into_iter().find(asks);
        let mail = super::support::wait_for("a mail that asks", sent, || self.robot.said_by_daemon());
        assert!(mail.text.contains("Each yes needs the code"), "{}", mail.text);
        mail.text.split_whitespace().find(|word| word.contains("/a/")).expect("a link").to_owned()
    }

    fn asked(&self) {
        self.robot.must(&["run", "app/production"]);
        self.robot.wait_until(&["show", "app/production"], "approval, 0 of 1");
    }

    fn deployed(&self) -> usize {
        std::fs::read_to_string(self.robot.path("deployed")).unwrap_or_default().lines().count()
    }
}

#[test]
fn a_code_is_typed_into_the_page_and_a_wrong_one_five_times_rests_and_is_told() {
    let mut office = Office::new();
    office.robot.start();
    office.asked();
    let (link, mut browser) = (office.link_of("ben", 1), Browser::new());
    let page = browser.get(&link).body;
    for part in ["autocomplete=\"one-time-code\"", "inputmode=\"numeric\"", "the network", "needed to reject"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let word = browser.fill_in(&link, &[("word", "production"), ("verdict", "approve"), ("reason", "")]);
    assert!(word.status == 422 && word.body.contains("six digits"), "{}", word.body);
    let wrong = if code(&office.ben, 0).starts_with('1') { "234567" } else { "123456" };
    for tries in ["4 more tries", "3 more tries", "2 more tries", "one more try"] {
        let answer = browser.fill_in(&link, &[("code", wrong), ("verdict", "approve"), ("reason", "")]);
        assert!(answer.status == 422 && answer.body.contains(tries), "{tries}: {}", answer.body);
        assert!(
            answer.body.contains("compare your phone&#x27;s clock")
                || answer.body.contains("compare your phone&#39;s clock"),
            "{}",
            answer.body
        );
    }
    for given in [wrong, &code(&office.ben, 0)] {
        let rests = browser.fill_in(&link, &[("code", given), ("verdict", "approve"), ("reason", "")]);
        assert!(rests.status == 429 && rests.body.contains("too many wrong codes"), "{}", rests.body);
    }
    let told = || {
        let mails = office.robot.mails();
        let mine = mails.into_iter().find(|mail| mail.subject.starts_with("Wrong answers as your vote"));
        mine.filter(|mail| mail.to == "ben@example.org" && mail.text.contains("Your vote rests until"))
    };
    super::support::wait_for("a mail to ben", told, || office.robot.said_by_daemon());
    assert_eq!(office.deployed(), 0);
    // anna is somebody else, and types hers.
    let link = office.link_of("anna", 1);
    let mut browser = Browser::new();
    let right = code(&office.anna, 0);
    let forged = browser.post(&link, &format!("code={right}&verdict=approve&csrf=none"));
    assert_eq!(forged.status, 403, "and nothing is spent by it: {}", forged.body);
    let done = browser.fill_in(&link, &[("code", &right), ("verdict", "approve"), ("reason", "looks well")]);
    assert_eq!(done.status, 200, "{}", done.body);
    office.robot.wait_until(&["show", "app/production"], "#1   ok");
    let shown = office.robot.get("/app/production/1").1;
    assert!(shown.contains("anna approved it with a code"), "{shown}");
    assert!(!office.robot.said_by_daemon().contains(&right), "no code is written down");
    // What she said yes to is over; the same code says yes to nothing else.
    office.asked();
    let again =
        browser.fill_in(&office.link_of("anna", 2), &[("code", &right), ("verdict", "approve"), ("reason", "")]);
    assert!(again.status == 422 && again.body.contains("used already"), "{}", again.body);
    let no =
        browser.fill_in(&office.link_of("anna", 2), &[("word", "production"), ("verdict", "reject"), ("reason", "no")]);
    assert_eq!(no.status, 200, "to say no a word is enough: {}", no.body);
    assert_eq!(office.deployed(), 1);
    let kept = office.robot.path("var/lib/shipbell/executor/withdrawn/app.production.2.json");
    let heard = || std::fs::read_to_string(&kept).ok().filter(|text| text.contains("rejected by anna"));
    super::support::wait_for("the executor hears of the no", heard, || office.robot.said_by_daemon());
}

#[test]
fn a_code_is_asked_for_on_the_terminal_and_its_vote_outlives_a_crash_until_it_starts() {
    let mut office = Office::new();
    office.robot.start();
    office.asked();
    office.robot.must(&["pause", "app", "-m", "not yet"]);
    let approve = |line: &str| office.robot.run_with_input(&["approve", "app/production", "-m", "yes"], line);
    let none = approve("");
    assert!(none.code == 1 && none.err.contains("no code was typed"), "{none:?}");
    let wrong = approve("12345\n");
    assert!(wrong.code == 1 && wrong.err.contains("six digits"), "{wrong:?}");
    let right = approve(&format!("{}\n", code(&office.anna, 0)));
    assert!(right.code == 0 && right.out.contains("approved"), "{right:?}");
    office.robot.kill();
    office.robot.start();
    assert_eq!(office.deployed(), 0);
    office.robot.must(&["resume", "app"]);
    office.robot.wait_until(&["show", "app/production"], "#1   ok");
    assert_eq!(office.deployed(), 1);
}

/// Fault 35, by the database.
#[test]
fn a_coded_vote_that_was_written_into_the_database_starts_nothing() {
    let mut office = Office::new();
    office.robot.start();
    office.asked();
    assert!(office.robot.stop().success());
    super::forge(&office.robot, None, true);
    office.robot.start();
    let shown = office.robot.wait_until(&["show", "app/production", "--json"], "0 of 1 votes");
    assert!(shown.contains("may not go to production"), "{shown}");
    assert_eq!(office.deployed(), 0);
}

#[test]
fn a_seed_is_shown_once_and_kept_where_only_root_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let office = Office::new();
    let file = office.robot.path("etc/shipbell/secrets/totp-anna");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept, format!("{}\n", office.anna.text()));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let again = office.robot.run(&["totp", "anna"]);
    assert!(again.code == 1 && again.err.contains("--replace") && again.out.is_empty(), "{again:?}");
    let new = office.robot.run_with_input(&["totp", "anna", "--replace"], "");
    assert!(new.code == 0 && std::fs::read_to_string(&file).unwrap() != kept, "{new:?}");
    std::fs::remove_file(&file).unwrap();
    let warned = office.robot.run(&["check"]);
    assert!(
        warned.err.contains("no seed for the codes of `anna`") && warned.err.contains("shipbell totp anna"),
        "{warned:?}"
    );
    let nobody = office.robot.run(&["totp", "zoe"]);
    assert!(nobody.code == 4 && nobody.err.contains("there are: anna, ben"), "{nobody:?}");
    assert_ne!(office.anna.text(), office.ben.text());
}

/// On a terminal: the picture, the seed to type, and whether both clocks agree.
#[test]
fn on_a_terminal_the_picture_fits_and_the_first_code_is_asked_for() {
    let office = Office::new();
    let (out, log) = (office.robot.path("typescript"), office.robot.path("out"));
    let program =
        format!("{} --root {} totp anna --replace", env!("CARGO_BIN_EXE_shipbell"), office.robot.path("").display());
    let mut child = Command::new("script")
        .args(["-qec", &program])
        .arg(&out)
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&log).unwrap())
        .env("TERM", "dumb")
        .spawn()
        .expect("script(1)");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let asked = || said().contains("shows now (Enter alone").then_some(());
    super::support::wait_for("it asks", asked, said);
    let text = said().replace('\r', "");
    let picture: Vec<&str> = text.lines().filter(|line| line.contains('█')).collect();
    assert!(picture.len() > 15 && picture.iter().all(|line| line.chars().count() <= 80), "{text}");
    let typed = text.split("Or type it there:").nth(1).unwrap().lines().next().unwrap();
    let seed = Seed::read(typed).unwrap();
    assert_ne!(seed, office.anna);
    let kept = || Seed::read(&std::fs::read_to_string(office.robot.path("etc/shipbell/secrets/totp-anna")).unwrap());
    assert_eq!(kept().unwrap(), office.anna, "not before both agree");
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", code(&seed, 8)).unwrap();
    let told = || said().contains("ahead of this host").then_some(());
    super::support::wait_for("it tells of the clock", told, said);
    writeln!(stdin, "{}", code(&seed, 0)).unwrap();
    assert!(child.wait().unwrap().success(), "{}", said());
    assert_eq!(kept().unwrap(), seed);
}
