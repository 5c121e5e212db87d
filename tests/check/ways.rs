//! What `check` says of repositories that are asked over a way which proves nothing.

use super::{Site, check};

#[test]
fn a_way_that_anybody_can_tamper_with_is_warned_of() {
    let site = Site::new();
    let file = |url: &str| format!("[repo]\nurl = \"{url}\"\n[job.a]\nsteps = \"true\"\n");
    for (name, url) in [("a", "http://git.example.org/a"), ("b", "git://git.example.org/a"), ("c", "http://[::1]:80/a")]
    {
        site.job(&format!("{name}.toml"), &file(url));
    }
    let (code, out, err) = check(&site, &[]);
    assert_eq!(
        (code, out.as_str(), err.matches("neither encrypted nor proven").count()),
        (0, "4 files: ok, 2 warnings\n", 2),
        "{err}"
    );
    assert!(err.starts_with("warning: http:// is") && err.contains("/etc/shipbell/jobs.d/b.toml:2:7"), "{err}");
}
