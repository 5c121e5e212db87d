//! The pages on a real socket: what they show of the real core and database, and that what jobs print stays
//! text. And the control socket: whose request it is.

#[path = "web/house.rs"]
mod house;
mod web;

use std::time::Duration;

use axum::Router;
use house::{House, JOBS};
use shipbell::model::run::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn story() -> House {
    let house = House::new(JOBS, "2026-11-26T08:30:00Z").await;
    house.push(web::commit(web::LIVE, "the one before", "dora")).await;
    house
}

#[tokio::test]
async fn the_first_page_shows_what_needs_a_person_and_how_every_job_stands() {
    let house = story().await;
    let page = house.get("/").await;
    assert_eq!(page.status, 200);
    for words in [
        "Needs a person",
        "open-im/production#1",
        "OpenIM server",
        "3f9d0aa",
        "the one before (dora)",
        "LIVE",
        "href=\"/open-im/staging/1\"",
        "Waiting",
        "Times in Europe/Berlin",
        "http-equiv=\"refresh\"",
    ] {
        assert!(page.body.contains(words), "{words} is not in {}", page.body);
    }
    assert_eq!(page.body.matches("<table").count(), page.body.matches("<thead><tr><th scope=\"col\"").count());
    let css = house.get("/style.css").await;
    assert!(css.header("content-type").unwrap().starts_with("text/css") && !css.body.contains("url("));
    assert_eq!(house.get("/healthz").await.body, "ok\n");
}

#[tokio::test]
async fn a_run_shows_its_steps_its_cause_and_its_end() {
    let house = story().await;
    let test = house.get("/open-im/test/1").await;
    for words in ["open-im/test#1", "✓ ok", "make test", "/open-im/test/1/log#step-1", "3f9d0aa", "cpu 9.0s", web::LIVE]
    {
        assert!(test.body.contains(words), "{words} is not in {}", test.body);
    }
    assert!(!test.body.contains("http-equiv"), "what is over is not fetched again");
    let staging = house.get("/open-im/staging/1").await;
    assert!(
        staging.body.contains("href=\"/open-im/image/1\"") && staging.body.contains("sha256:9c1f"),
        "{}",
        staging.body
    );
    let production = house.get("/open-im/production/1").await;
    assert!(
        production.body.contains("It waits for approval") && production.body.contains("asked 09:30 of anna and ben")
    );
    assert!(production.body.contains("http-equiv=\"refresh\""));

    house.stage.lock().unwrap().plays.insert("test".into(), (b"no\n".to_vec(), Outcome::Failed));
    house.push(web::commit(web::NEW, "break it", "chen")).await;
    let failed = house.get("/open-im/test/2").await;
    assert!(failed.body.contains("✗ FAILED") && failed.body.contains("exit 2"), "{}", failed.body);
    assert!(house.get("/").await.body.contains("✗ FAILED"));

    house.stage.lock().unwrap().endless = Some("test".into());
    house.push(web::commit(web::HOTFIX, "takes its time", "chen")).await;
    let running = house.get("/open-im/test/3").await;
    assert!(running.body.contains("▸ runs") && running.body.contains("http-equiv=\"refresh\" content=\"3\""));
    assert!(house.get("/").await.body.contains("Running"));
    assert_eq!(house.get("/open-im/test/3/log").await.status, 200, "a log that grows");
}

#[tokio::test]
async fn what_is_not_there_is_not_there() {
    let house = story().await;
    for path in [
        "/open-im/test/2",
        "/open-im/test/01",
        "/open-im/test/-1",
        "/open-im/test/1;.css",
        "/open-im/test/1.css",
        "/open-im/test/1/",
        "/open-im/nothing/1",
        "/OPEN-IM/test/1",
        "/open-im/..%2ftest/1",
        "/open-im/test/%ff",
        "//",
        "/open-im/test/1/log?raw=x",
        "/open-im/test/1/log?attempt=7",
        "/open-im/test/18446744073709551616",
        "/a",
        "/api/v1/status",
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        assert!(!answer.body.contains("%ff") && answer.body.contains("Nothing here"));
    }
}

#[tokio::test]
async fn what_a_job_prints_stays_text_and_fits_a_page() {
    let house = House::new(JOBS, "2026-11-26T08:30:00Z").await;
    let mut log =
        b"<script>alert(1)</script>\x1b[31mred\x1b[0m \xff\xfe \x1b]0;title\x07 </pre><img src=x> \xe2\x80\xae\r\n"
            .to_vec();
    let short = log.clone();
    log.extend(b"0123456789abcde\n".repeat(20_000));
    log.extend(b"THE END\n");
    house.stage.lock().unwrap().plays.insert("test".into(), (log.clone(), Outcome::Succeeded));
    house.push(web::commit(web::LIVE, "loud", "dora")).await;
    let page = house.get("/open-im/test/1/log").await;
    assert_eq!(page.status, 200);
    for bad in ["<script", "<img", "\u{1b}", "\u{202e}", "\u{7}"] {
        assert!(!page.body.contains(bad), "{bad:?}");
    }
    assert!(
        page.body.contains(
            "&lt;script&gt;alert(1)&lt;/script&gt;<b class=\"c1 thin\">red</b> \u{fffd}\u{fffd}  &lt;/pre&gt;"
        )
    );
    assert!(
        page.body.contains("THE END") && page.body.contains("bytes are left out here") && page.body.len() < 120_000
    );
    assert!(page.body.contains("id=\"step-1\""));

    let raw = raw(&house, "/open-im/test/1/log?raw=1").await;
    let (head, body) = raw.split_at(raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4);
    assert_eq!(body, log, "the bytes as they are");
    let head = String::from_utf8_lossy(head).to_lowercase();
    assert!(
        head.contains("content-type: text/plain; charset=utf-8") && head.contains("x-content-type-options: nosniff")
    );
    assert!(head.contains(&format!("x-shipbell-next: {}", log.len())) && head.contains("content-security-policy"));
    let rest = self::raw(&house, &format!("/open-im/test/1/log?raw=1&from={}", log.len() - 8)).await;
    assert!(rest.ends_with(b"\r\n\r\nTHE END\n"));

    // The same of a run that goes on, where nobody has said how long its log is.
    house.stage.lock().unwrap().endless = Some("test".into());
    house.push(web::commit(web::NEW, "loud and long", "dora")).await;
    let page = house.get("/open-im/test/2/log").await;
    assert!(page.body.contains("THE END") && page.body.contains("bytes are left out here"));
    house.stage.lock().unwrap().plays.insert("test".into(), (short, Outcome::Succeeded));
    house.push(web::commit(web::HOTFIX, "<b>quiet</b>", "<i>dora</i>")).await;
    let first = house.get("/").await;
    assert!(!first.body.contains("<b>quiet") && !first.body.contains("<i>dora"));
}

#[tokio::test]
async fn lines_have_the_times_at_which_they_came_where_they_are_wanted() {
    let house = House::new(JOBS, "2026-11-26T08:30:00Z").await;
    let lines = ["<i>one</i>\n", "\x1b[31mtwo\x1b[0m\n", "\n", "past midnight\n"];
    let at = |line: usize| lines[..line].iter().map(|line| line.len() as u64).sum::<u64>();
    let ms = |time: &str| time.parse::<shipbell::model::time::Timestamp>().unwrap().as_millisecond();
    {
        let mut stage = house.stage.lock().unwrap();
        stage.times = vec![(at(1), ms("2026-11-26T08:31:05Z")), (at(3), ms("2026-11-26T23:00:07Z"))];
        stage.plays.insert("test".into(), (lines.concat().into_bytes(), Outcome::Succeeded));
    }
    house.push(web::commit(web::LIVE, "slow", "dora")).await;
    let plain = house.get("/open-im/test/1/log").await;
    assert!(
        plain.body.contains("<a href=\"?times=1&amp;attempt=1\">with times</a>")
            && !plain.body.contains("class=\"at\"")
    );
    let timed = house.get("/open-im/test/1/log?times=1&attempt=1").await;
    let expected = [
        "<pre class=\"log\" tabindex=\"0\"><span class=\"day\">Thu 26 Nov 2026</span>",
        "<span class=\"at\"><i>09:30:00</i>&lt;i&gt;one&lt;/i&gt;</span>",
        "<span class=\"at\"><i>09:31:05</i><b class=\"c1 thin\">two</b></span>",
        "<span class=\"at\"><i>09:31:05</i></span>",
        "<span class=\"day\">Fri 27 Nov 2026</span><span class=\"at\"><i>00:00:07</i>past midnight</span></pre>",
    ];
    assert!(timed.body.contains(&expected.concat()), "{}", timed.body);
    assert!(timed.body.contains("times in Europe/Berlin · <a href=\"?attempt=1\">without times</a>"), "{}", timed.body);
}

async fn raw(house: &House, path: &str) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(&house.address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", house.address);
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn the_control_socket_knows_who_asks() {
    let house = story().await;
    let path = house.dir.path().join("control.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let wait = async { drop(stopped.await) };
    let server = tokio::spawn(shipbell::http::serve_control(listener, house.app.clone(), wait));
    let ask = |text: &'static str| {
        let path = path.clone();
        async move {
            let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    };
    let status = ask("GET /api/v1/status HTTP/1.1\r\nHost: shipbell\r\nConnection: close\r\n\r\n").await;
    assert!(status.starts_with("HTTP/1.1 200") && status.contains("\"schema\":1"), "{status}");
    assert!(!ask("GET / HTTP/1.1\r\nHost: shipbell\r\nConnection: close\r\n\r\n").await.contains("<html"));

    // Someone holds a connection open; the stop does not wait for ever.
    let idle = tokio::net::UnixStream::connect(&path).await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server).await.expect("it ends").unwrap().unwrap();
    drop(idle);
}

#[tokio::test]
async fn without_a_known_caller_nothing_is_answered() {
    let house = story().await;
    // The control routes on TCP, as nobody should serve them: the kernel names no caller there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes: Router = shipbell::http::control(house.app.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
