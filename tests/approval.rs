//! The link in an approval mail, driven as browsers, mail scanners and attackers do: real requests to the real
//! pages, the real core and database below them.

#[path = "web/house.rs"]
mod house;
mod support;
mod web;

use house::{Answer, House, JOBS};
use shipbell::model::event::Change;
use shipbell::model::request::{RequestState, Verdict};
use shipbell::report::token::{Claim, Keys};
use shipbell::store::Store;
use support::signer;

/// Thursday 09:30 in Berlin, in the window: 3f9d0aa goes to production. Then Friday 17:55, out of it, and
/// 7848d7c asks. Request 2 is open for anna and ben.
async fn asked() -> House {
    asked_of(web::commit(web::NEW, "refactor(changelog): modernize generator", "chen")).await
}

async fn asked_of(new: shipbell::model::commit::CommitInfo) -> House {
    let house = House::new(JOBS, "2026-11-26T08:30:00Z").await;
    house.push(web::commit(web::LIVE, "the one before", "dora")).await;
    let page = Visit::of(&house, &house.link(1, "anna")).await;
    assert_eq!(page.vote(&house, "production", "approve", "").await.status, 200);
    assert_eq!(house.request(1).state.word(), "used", "in the window it starts at once");
    house.at("2026-11-27T16:55:00Z").await;
    house.push(new).await;
    assert!(house.request(2).is_open());
    house
}

/// A browser with the page open.
struct Visit {
    path: String,
    cookie: String,
    proof: String,
}

impl Visit {
    async fn of(house: &House, path: &str) -> Self {
        let page = house.get(path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        Self { path: path.into(), cookie: page.cookie().unwrap().to_owned(), proof: page.field("csrf") }
    }

    async fn vote(&self, house: &House, word: &str, verdict: &str, reason: &str) -> Answer {
        self.send(house, &[], &[("csrf", &self.proof), ("word", word), ("verdict", verdict), ("reason", reason)]).await
    }

    async fn send(&self, house: &House, more: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("Cookie", self.cookie.as_str())];
        headers.extend(more);
        let escape = shipbell::report::display::url_segment;
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        house.ask("POST", &self.path, &headers, &fields.join("&")).await
    }
}

fn journal(house: &House) -> usize {
    house.reader().journal(None, 10_000).unwrap().len()
}

#[tokio::test]
async fn opening_it_changes_nothing_however_often() {
    let house = asked().await;
    let (before, lines) = (house.request(2), journal(&house));
    let link = house.link(2, "anna");
    for method in ["GET", "HEAD"] {
        for _ in 0..50 {
            let page = house.ask(method, &link, &[("User-Agent", "scanner")], "").await;
            assert_eq!(page.status, 200);
        }
    }
    assert_eq!((house.request(2), journal(&house)), (before, lines));
    let page = house.get(&link).await;
    for words in [
        "May open-im 7848d7c go to production?",
        "You are <strong>anna</strong>",
        "NOT TONIGHT",
        "staging",
        "1 commit since production&#39;s 3f9d0aa",
        "Mon 30 Nov 17:55 (16:55 UTC)",
        web::NEW,
        "open-im/staging#2",
    ] {
        let found = page.body.replace("&#x27;", "&#39;");
        assert!(found.contains(words), "{words} is not in {found}");
    }
    assert!(!page.body.contains("<script") && !page.body.contains(&link), "no script, and no token in the page");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.header("set-cookie").unwrap().contains("HttpOnly; SameSite=Lax"));
}

#[tokio::test]
async fn a_vote_wants_the_word_the_form_and_the_visitor() {
    let house = asked().await;
    let anna = Visit::of(&house, &house.link(2, "anna")).await;
    let ben = Visit::of(&house, &house.link(2, "ben")).await;
    let before = (house.request(2), journal(&house));
    let good = [("csrf", anna.proof.as_str()), ("word", "production"), ("verdict", "approve"), ("reason", "")];
    let with =
        |name: &str, value: &'static str| good.map(|(key, old)| if key == name { (key, value) } else { (key, old) });
    let of_ben = good.map(|(key, old)| if key == "csrf" { (key, ben.proof.as_str()) } else { (key, old) });
    let foreign = [("Origin", "https://evil.example")];
    let address = format!("http://{}", house.address);
    for (what, status, headers, fields) in [
        ("no word", 422, vec![], with("word", "").as_slice()),
        ("another word", 422, vec![], &with("word", "Production")),
        ("no verdict", 422, vec![], &with("verdict", "")),
        ("no reason", 422, vec![], &with("verdict", "reject")),
        ("no proof", 403, vec![], &with("csrf", "")),
        (
            "made-up proof",
            403,
            vec![],
            &with("csrf", "abababababababababababababababababababababababababababababababab"),
        ),
        ("ben's proof", 403, vec![], &of_ben),
        ("a stranger's page", 403, foreign.to_vec(), &good),
        ("a stranger's frame", 403, vec![("Origin", "null"), ("Sec-Fetch-Site", "cross-site")], &good),
        ("a neighbour's page", 403, vec![("Origin", address.as_str()), ("Sec-Fetch-Site", "same-site")], &good),
        ("nothing at all", 403, vec![], &[]),
    ] {
        let answer = anna.send(&house, &headers, fields).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert_eq!((house.request(2), journal(&house)), before, "{what}");
    }
    let stranger = Visit { cookie: "shipbell=none".into(), path: anna.path.clone(), proof: anna.proof.clone() };
    assert_eq!(stranger.vote(&house, "production", "approve", "").await.status, 403);
    assert_eq!((house.request(2), journal(&house)), before);
    let own = [("Origin", address.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(anna.send(&house, &own, &good).await.status, 200, "the same from our own page counts");
    assert_eq!(house.request(2).state.word(), "approved");
}

#[tokio::test]
async fn one_vote_decides_once_and_starts_when_the_window_opens() {
    let house = asked().await;
    let (anna, ben) = (Visit::of(&house, &house.link(2, "anna")).await, Visit::of(&house, &house.link(2, "ben")).await);
    let answer = anna.vote(&house, " production ", "approve", "").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.contains("anna approved it 17:55.") && answer.body.contains("Mon 30 Nov 09:00"),
        "{}",
        answer.body
    );
    let voted = house.request(2);
    assert_eq!(voted.votes.len(), 1);
    assert_eq!(voted.votes[0].via, "mail");

    let again = anna.vote(&house, "production", "approve", "").await;
    assert_eq!((again.status, house.request(2)), (200, voted.clone()), "the second time shows the recorded vote");
    assert!(again.body.contains("anna approved it 17:55."));
    let other = anna.vote(&house, "production", "reject", "I changed my mind").await;
    assert_eq!((other.status, house.request(2)), (409, voted.clone()));
    let late = ben.vote(&house, "production", "approve", "").await;
    assert_eq!((late.status, house.request(2)), (200, voted), "no further vote is needed");

    let production = web::run_ref("open-im/production#2");
    assert!(!house.stage.lock().unwrap().started.contains(&production), "the window is closed");
    house.at("2026-11-30T08:00:00Z").await;
    assert!(house.stage.lock().unwrap().started.contains(&production));
    let page = house.get(&house.link(2, "ben")).await;
    assert!(page.body.contains("anna approved it; it started") && !page.body.contains("<form"), "{}", page.body);
}

#[tokio::test]
async fn a_rejection_tells_its_reason_and_can_follow_an_approval() {
    let house = asked().await;
    let ben = Visit::of(&house, &house.link(2, "ben")).await;
    let anna = Visit::of(&house, &house.link(2, "anna")).await;
    assert_eq!(anna.vote(&house, "production", "approve", "").await.status, 200);
    let page = house.get(&ben.path).await;
    assert!(page.body.contains("Stop it after all") && !page.body.contains("value=\"approve\""), "{}", page.body);
    let answer = ben.vote(&house, "production", "reject", "the <b>migration</b>\r\nX: y is not tested").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.contains("the &#60;b&#62;migration") || answer.body.contains("the &lt;b&gt;migration"),
        "{}",
        answer.body
    );
    assert_eq!(house.request(2).state.word(), "rejected");
    let page = house.get(&anna.path).await;
    assert!(page.body.contains("ben rejected it 17:55.") && !page.body.contains("<form"));
}

#[tokio::test]
async fn every_wrong_link_is_the_same_page() {
    let house = asked().await;
    let link = house.link(2, "anna");
    let nothing = house.get("/a/x").await;
    assert_eq!(nothing.status, 404);
    let token = link.trim_start_matches("/a/");
    let mut wrong = vec![
        "/a/".to_owned(),
        format!("{link}/"),
        format!("{link}x"),
        format!("/a/{}", "A".repeat(67)),
        "/a/%ff%00".into(),
        format!("{link};x=.css"),
        format!("{}%0a", link),
        "/a/../a/x".into(),
    ];
    for place in 0..token.len() {
        let other = if token.as_bytes()[place] == b'A' { 'B' } else { 'A' };
        let changed: String = token.chars().enumerate().map(|(at, c)| if at == place { other } else { c }).collect();
        wrong.push(format!("/a/{changed}"));
    }
    for path in &wrong {
        for answer in [house.get(path).await, house.ask("POST", path, &[], "word=production&verdict=approve").await] {
            let same = answer.status == 404 && answer.body == nothing.body;
            assert!(same || (answer.status == 405 && path == "/a/"), "{path}: {} {}", answer.status, answer.body);
        }
    }
    assert!(house.request(2).votes.is_empty());
}

#[tokio::test]
async fn a_link_is_bound_to_every_fact_and_to_the_key() {
    let house = asked().await;
    let request = house.request(2);
    let token = house.app.keys.token(&request, &request.slots[0]);
    let claim = Claim::read(&token).unwrap();
    assert_eq!(token.len(), 67);
    assert_eq!(house.app.keys.verify(&claim, &request), Some(&request.slots[0]));
    let changes: [fn(&mut shipbell::model::request::Request); 8] = [
        |r| r.id += 1,
        |r| r.run.number += 1,
        |r| r.tuple.environment = "staging".parse().unwrap(),
        |r| r.tuple.commit = None,
        |r| r.tuple.params = [("TENANT".to_owned(), "x".to_owned())].into(),
        |r| r.slots[0].person = web::person("eve"),
        |r| r.slots[0].email = "eve@example.org".into(),
        |r| r.expires_at = web::at("2030-01-01T00:00:00Z"),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = request.clone();
        change(&mut other);
        assert_eq!(house.app.keys.verify(&claim, &other), None, "change {number}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let strangers = Keys::load_or_create(elsewhere.path(), elsewhere.path()).unwrap();
    assert_eq!(strangers.verify(&claim, &request), None);
    // A new key above the old one: what was sent still opens, what is sent now is of the new one.
    let file = |dir: &std::path::Path| std::fs::read_to_string(dir.join("token.key")).unwrap();
    let both = format!("{}{}", file(elsewhere.path()), file(&house.layout.state_dir));
    std::fs::write(elsewhere.path().join("token.key"), both).unwrap();
    let rotated = Keys::load_or_create(elsewhere.path(), elsewhere.path()).unwrap();
    assert!(rotated.verify(&claim, &request).is_some());
    assert_ne!(rotated.token(&request, &request.slots[0]), token);
    // Facts that were changed behind our back kill the link on the page as well.
    drop(house.get(&format!("/a/{token}")).await);
    let mut store = Store::open(&house.layout.database()).unwrap();
    let longer = shipbell::model::request::Request { expires_at: web::at("2026-12-30T00:00:00Z"), ..request };
    if store.commit(&[Change::RequestPut(Box::new(longer))]).is_ok() {
        assert_eq!(house.get(&format!("/a/{token}")).await.status, 404);
    }
}

#[tokio::test]
async fn five_wrong_words_rest_the_link() {
    let house = asked().await;
    let (anna, ben) = (Visit::of(&house, &house.link(2, "anna")).await, Visit::of(&house, &house.link(2, "ben")).await);
    for _ in 0..5 {
        assert_eq!(anna.vote(&house, "prod", "approve", "").await.status, 422);
    }
    assert_eq!(anna.vote(&house, "production", "approve", "").await.status, 429);
    assert!(house.request(2).votes.is_empty());
    let told = house.reader().journal(None, 10_000).unwrap();
    let told: Vec<_> = told.iter().filter(|line| line.verb == "wrong answers").collect();
    assert!(told.len() == 1 && told[0].detail.contains("anna's vote rests until"), "once: {told:?}");
    assert_eq!(ben.vote(&house, "production", "approve", "").await.status, 200, "the others go on");
}

#[tokio::test]
async fn what_is_over_is_said_with_who_and_when() {
    let house = asked().await;
    let old = Visit::of(&house, &house.link(2, "anna")).await;
    house.push(web::commit(&"c".repeat(40), "a newer one", "chen")).await;
    assert!(matches!(house.request(2).state, RequestState::Superseded { .. }));
    let page = house.get(&old.path).await;
    assert!(
        page.body.contains("A newer one took its place") && page.body.contains("/open-im/production/3"),
        "{}",
        page.body
    );
    let answer = old.vote(&house, "production", "approve", "").await;
    assert_eq!(answer.status, 409);
    assert!(house.request(2).votes.is_empty());

    let last = Visit::of(&house, &house.link(3, "anna")).await;
    house.stage.lock().unwrap().now = web::at("2026-12-01T12:00:00Z");
    let page = house.get(&last.path).await;
    assert!(page.body.contains("It was not decided in time") && page.body.contains("shipbell run open-im/production"));
    assert_eq!(last.vote(&house, "production", "approve", "").await.status, 409, "before the core has looked");
    house.at("2026-12-01T12:00:00Z").await;
    assert_eq!(house.request(3).state.word(), "expired");
    assert_eq!(last.vote(&house, "production", "approve", "").await.status, 409, "and after");
    assert!(!house.stage.lock().unwrap().started.contains(&web::run_ref("open-im/production#3")));
}

#[tokio::test]
async fn a_vote_that_cannot_be_written_is_said_to_be_none() {
    let house = asked().await;
    let anna = Visit::of(&house, &house.link(2, "anna")).await;
    house.stage.lock().unwrap().full = true;
    let answer = anna.vote(&house, "production", "approve", "").await;
    assert_eq!(answer.status, 507);
    assert!(answer.body.contains("Not recorded"), "{}", answer.body);
    assert!(house.request(2).votes.is_empty());
    house.stage.lock().unwrap().full = false;
    assert_eq!(anna.vote(&house, "production", "approve", "").await.status, 200, "the same form, once there is room");
    assert!(house.request(2).approvals().all(|vote| vote.verdict == Verdict::Approve));
}

#[tokio::test]
async fn strangers_texts_are_only_text() {
    let mut evil = web::commit(web::NEW, "<script>alert(1)</script><img src=x onerror=alert(2)>\u{1b}[2J", "chen");
    evil.author = "\"><svg/onload=alert(3)>\u{202e}".into();
    let house = asked_of(evil).await;
    let page = house.get(&house.link(2, "anna")).await;
    for bad in ["<script>", "<img", "<svg", "\u{1b}", "\u{202e}"] {
        assert!(!page.body.contains(bad), "{bad:?} in {}", page.body);
    }
    assert!(page.body.contains("alert(1)"), "it is shown, as text");
    let anna = Visit::of(&house, &house.link(2, "anna")).await;
    let answer = anna.vote(&house, "production", "reject", "\"></textarea><script>alert(4)</script>").await;
    assert!(!answer.body.contains("<script>"), "{}", answer.body);
    let run = house.get("/open-im/production/2").await;
    assert!(run.body.contains("alert(4)") && !run.body.contains("<script>") && !run.body.contains("<svg"));
}

#[tokio::test]
async fn only_requests_for_us_and_of_our_size_are_answered() {
    let house = asked().await;
    let link = house.link(2, "anna");
    for host in ["evil.example", "127.0.0.1", ""] {
        let answer = house.ask("GET", &link, &[("Host", host), ("X-Forwarded-Host", &house.address)], "").await;
        assert_eq!(answer.status, 421, "{host}");
        assert!(!answer.body.contains("anna") && !answer.body.contains("evil"), "{}", answer.body);
    }
    let anna = Visit::of(&house, &link).await;
    let long = "x".repeat(100_000);
    assert_eq!(anna.vote(&house, "production", "reject", &long).await.status, 413);
    assert_eq!(house.ask("PUT", &link, &[], "").await.status, 405);
    assert!(house.request(2).votes.is_empty());
    for path in ["/", "/nothing", "/style.css", "/healthz", "/open-im/test/1", &link] {
        let answer = house.get(path).await;
        for header in ["content-security-policy", "referrer-policy", "x-content-type-options", "cache-control"] {
            assert!(answer.header(header).is_some(), "{path} has no {header}");
        }
    }
}

/// As a person without a shell on the host votes: the text is on the page, the signature is pasted.
#[tokio::test]
async fn a_signed_vote_is_pasted_and_a_word_is_none() {
    let keys = tempfile::tempdir().unwrap();
    let (key, public) = signer::key(keys.path(), "anna");
    let people = house::PEOPLE.replace("login = \"anna\"\n", &format!("ssh-key = \"{public}\"\n"));
    let jobs = JOBS.replace("{ by = \"@release\" }", "{ by = \"@release\", factor = \"sshsig\" }");
    let house = House::with_people(&people, &jobs, "2026-11-26T08:30:00Z").await;
    house.push(web::commit(web::LIVE, "the one before", "dora")).await;
    let page = house.get(&house.link(1, "anna")).await;
    assert!(!page.body.contains("<script"), "{}", page.body);
    let shown = page.body.replace("&#39;", "'").replace("&#34;", "\"").replace("&#60;", "<");
    let text = shown.split("<<'END'\n").nth(1).and_then(|rest| rest.split("END</pre>").next()).unwrap();
    assert!(text.contains(&format!("commit {}\n", web::LIVE)) && text.contains("run open-im/production#1\n"), "{text}");
    assert!(shown.contains(shipbell::model::job::Hash::of(text.as_bytes()).as_str()), "its hash is shown");
    let anna = Visit::of(&house, &house.link(1, "anna")).await;
    let send = |signature: String, verdict: &'static str, word: &'static str| {
        let (anna, house) = (&anna, &house);
        async move {
            let proof = [("csrf", anna.proof.as_str()), ("word", word), ("verdict", verdict), ("reason", "not today")];
            let fields = [&proof[..], &[("signature", signature.as_str())]].concat();
            anna.send(house, &[], &fields).await
        }
    };
    let good = signer::sign(&key, text);
    let (strange, _) = signer::key(keys.path(), "strange");
    for (signature, why) in [
        (String::new(), "a signature begins with"),
        (signer::sign(&key, &text.replace("#1", "#2")), "no signature of exactly that text"),
        (signer::sign(&strange, text), "by a key of yours"),
    ] {
        let answer = send(signature, "approve", "production").await;
        assert_eq!(answer.status, 422);
        assert!(answer.body.contains(why), "{why}: {}", answer.body);
    }
    assert_eq!(send(good.clone(), "reject", "").await.status, 422, "to say no the word is typed");
    assert!(house.request(1).votes.is_empty());
    // As browsers send what stood in a field.
    let answer = send(good.replace('\n', "\r\n"), "approve", "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let vote = &house.request(1).votes[0];
    let signed = vote.signed.as_ref().unwrap();
    assert_eq!((vote.by.as_str(), signed.signature.as_str()), ("anna", good.as_str()), "kept, to be checked by anyone");
    assert!(public.starts_with(&signed.key));
    assert!(house.stage.lock().unwrap().started.contains(&web::run_ref("open-im/production#1")));
}
