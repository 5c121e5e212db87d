//! Where this process stands in the host's hierarchies of control groups, as /proc tells it: one of
//! version 2, or one for each controller of version 1, or both. Whether it may make groups there is
//! asked in `site.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a group can count and limit (or, of version 1, freeze).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
    /// Of version 1 only; a group of version 2 can be ended as it is.
    Freezer,
}

impl Controller {
    pub const ALL: [Self; 4] = [Self::Memory, Self::Pids, Self::Cpu, Self::Freezer];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Freezer => "freezer",
        }
    }
}

/// Directories of the groups that this process is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub unified: Option<PathBuf>,
    pub legacy: BTreeMap<Controller, PathBuf>,
}

/// As it is now.
#[must_use]
pub fn now() -> Standing {
    let read = |path: &str| crate::sys::files::read_kernel(Path::new(path)).unwrap_or_default();
    let is_group = |dir: &Path| dir.join("cgroup.procs").exists();
    of(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), is_group)
}

/// The first mount of a hierarchy counts through which our group is to be seen: others may show
/// another part of it, or be hidden below something else.
fn of(mounts: &str, groups: &str, is_group: impl Fn(&Path) -> bool) -> Standing {
    let mut standing = Standing::default();
    for mount in mounts.lines().filter_map(Mount::parse) {
        match mount.kind {
            "cgroup2" if standing.unified.is_none() => {
                standing.unified = mount.group(path_in(groups, None)).filter(|dir| is_group(dir));
            }
            "cgroup" => {
                for controller in Controller::ALL {
                    let here = mount.options.split(',').any(|option| option == controller.word());
                    if here && !standing.legacy.contains_key(&controller) {
                        let dir = mount.group(path_in(groups, Some(controller))).filter(|dir| is_group(dir));
                        standing.legacy.extend(dir.map(|dir| (controller, dir)));
                    }
                }
            }
            _ => {}
        }
    }
    standing
}

/// The path of our group in a hierarchy, from /proc/self/cgroup: `8:pids:/a/b`, `0::/a/b`.
fn path_in(groups: &str, controller: Option<Controller>) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut words = line.splitn(3, ':').skip(1);
        let (controllers, path) = (words.next()?, words.next()?);
        let it_is = match controller {
            None => controllers.is_empty(),
            Some(controller) => controllers.split(',').any(|word| word == controller.word()),
        };
        it_is.then_some(path)
    })
}

/// A line of /proc/self/mountinfo.
struct Mount<'a> {
    /// The part of the hierarchy that is to be seen here.
    root: String,
    at: String,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, what) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, at) = (place.next()?, place.next()?);
        let mut what = what.split(' ');
        let (kind, options) = (what.next()?, what.nth(1)?);
        Some(Self { root: unescaped(root), at: unescaped(at), kind, options })
    }

    fn group(&self, path: Option<&str>) -> Option<PathBuf> {
        // A path that leads out of what is mounted here (`/../x`) is not below its root.
        let below = Path::new(path?).strip_prefix(&self.root).ok()?;
        let stays = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        // Through its components: joined to nothing a path would end with a slash.
        stays.then(|| Path::new(&self.at).join(below).components().collect())
    }
}

/// The kernel writes blanks and such as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(mounts: &str, groups: &str) -> Standing {
        of(mounts, groups, |dir| !dir.starts_with("/hidden"))
    }

    #[test]
    fn version_2_alone() {
        let mounts =
            "24 1 0:21 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n22 1 0:5 / /proc rw - proc proc rw";
        let found = standing(mounts, "0::/system.slice/shipbell.service\n");
        assert_eq!(found.unified, Some("/sys/fs/cgroup/system.slice/shipbell.service".into()));
        assert!(found.legacy.is_empty());
    }

    #[test]
    fn version_1_with_two_controllers_in_one_place_and_an_empty_version_2_beside_it() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = standing(mounts, "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/\n");
        assert_eq!(found.unified, Some("/sys/fs/cgroup/unified".into()));
        let legacy: Vec<_> = found.legacy.iter().map(|(one, dir)| (one.word(), dir.to_str().unwrap())).collect();
        assert_eq!(legacy, [("memory", "/sys/fs/cgroup/memory/a/b"), ("cpu", "/sys/fs/cgroup/cpu,cpuacct")]);
    }

    #[test]
    fn a_container_sees_a_part_of_the_hierarchy() {
        let mounts = "1 0 0:9 /docker/4f /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n\
                      2 0 0:9 /docker/4f /hidden rw - cgroup cgroup rw,memory\n\
                      3 0 0:9 /docker/4f /my\\040groups rw - cgroup cgroup rw,freezer\n";
        let found = standing(mounts, "8:pids:/docker/4f/x\n4:memory:/docker/4f\n3:freezer:/docker/4f\n");
        let legacy: Vec<_> = found.legacy.values().map(|dir| dir.to_str().unwrap()).collect();
        assert_eq!(legacy, ["/sys/fs/cgroup/pids/x", "/my groups"]);
        let outside = standing("1 0 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../other\n");
        assert_eq!(outside, Standing::default());
    }

    #[test]
    fn nonsense_is_no_group() {
        for text in ["", "x", "1 2 3 - cgroup2", "a b c d e f - cgroup2 x", "\u{0}\n - \n"] {
            assert_eq!(standing(text, text), Standing::default(), "{text:?}");
        }
        assert_eq!(unescaped("a\\040b\\134\\x\\"), "a b\\\\x\\");
    }

    #[test]
    fn this_host_answers() {
        // Whatever it has: what is said to be a group is one.
        let found = now();
        for dir in found.legacy.values().chain(&found.unified) {
            assert!(dir.join("cgroup.procs").exists(), "{}", dir.display());
        }
    }
}
