//! What a secret is easily printed as: itself, its lines, and what tools encode it to. How a stream is
//! searched for all of it at once stands in `mask`.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::SHORTEST;
use crate::model::job::hex;

/// The least for a part of a secret: one line, one value in it.
const SHORTEST_PART: usize = 8;
/// Of larger secrets only the text itself and its lines are looked for, not what they are encoded to.
const ENCODED_MAX: usize = 64 << 10;
/// Characters of a line as `base64` and `openssl base64` print it.
const WRAPPED: [usize; 2] = [76, 64];

/// All texts that these values are looked for as.
pub fn patterns<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for value in values {
        let value = value.trim_ascii_end();
        if value.len() < SHORTEST {
            continue;
        }
        if value.len() <= ENCODED_MAX {
            found.extend(encodings(value).into_iter().filter(|text| text.len() >= SHORTEST));
        }
        found.insert(value.to_vec());
        found.extend(parts(value));
    }
    found
}

/// Lines of a secret that has several, and the long texts of one that is JSON.
fn parts(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(value) {
        leaves(&json, &mut found);
    } else if value.contains(&b'\n') {
        found.extend(value.split(|byte| *byte == b'\n').filter_map(worth_hiding).map(<[u8]>::to_vec));
    }
    found
}

fn leaves(json: &serde_json::Value, found: &mut Vec<Vec<u8>>) {
    match json {
        serde_json::Value::String(text) if text.len() >= 2 * SHORTEST_PART => {
            found.push(text.clone().into_bytes());
            found.extend(text.lines().filter_map(|line| worth_hiding(line.as_bytes())).map(<[u8]>::to_vec));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| leaves(field, found)),
        _ => {}
    }
}

/// What is secret about one line of several: of `token: x` only the `x`, so that the `kind: Config` of
/// every kubeconfig hides nothing elsewhere; nothing of the frame around a key.
fn worth_hiding(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii();
    if line.starts_with(b"-----") {
        return None;
    }
    let name = |name: &[u8]| {
        let name = name.strip_prefix(b"- ").unwrap_or(name).trim_ascii();
        !name.is_empty() && name.len() <= 40 && name.iter().all(|c| c.is_ascii_alphanumeric() || b"_.-\"".contains(c))
    };
    let bare = |value: &'_ [u8]| -> (usize, usize) {
        let quote = |c: &u8| matches!(c, b'"' | b'\'' | b',' | b' ');
        let from = value.iter().position(|c| !quote(c)).unwrap_or(value.len());
        let to = value.iter().rposition(|c| !quote(c)).map_or(from, |at| at + 1);
        (from, to)
    };
    let split = |separator: &[u8]| {
        let at = line.windows(separator.len()).position(|window| window == separator)?;
        let value = line.get(at + separator.len()..)?;
        let (from, to) = bare(value);
        name(line.get(..at)?).then(|| value.get(from..to).unwrap_or_default())
    };
    if let Some(value) = split(b": ") {
        return (value.len() >= SHORTEST_PART).then_some(value);
    }
    match split(b"=") {
        Some(value) if value.len() >= SHORTEST_PART => Some(value),
        _ => (line.len() >= SHORTEST_PART && !line.ends_with(b":")).then_some(line),
    }
}

fn encodings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = base64_forms(value);
    let lower = hex(value);
    found.push(lower.to_ascii_uppercase().into_bytes());
    found.push(lower.into_bytes());
    found.extend(url_forms(value));
    found.extend(json_forms(value));
    found
}

/// As it looks in the middle of something longer, whatever comes before and behind it.
fn base64_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for before in 0..3_usize {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        // Characters that hold bits of what stands before or behind it are not its own.
        let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            found.extend(text.as_bytes().get(from..to).map(<[u8]>::to_vec));
        }
    }
    for end in [&b""[..], b"\n"] {
        let text = STANDARD.encode([value, end].concat());
        for width in WRAPPED {
            found.extend(text.as_bytes().chunks(width).filter(|chunk| chunk.len() >= 16).map(<[u8]>::to_vec));
        }
    }
    found
}

fn url_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let form = |plain: &[u8], plus: bool, lower: bool| {
        let mut text = Vec::new();
        for byte in value {
            match byte {
                b' ' if plus => text.push(b'+'),
                _ if byte.is_ascii_alphanumeric() || plain.contains(byte) => text.push(*byte),
                _ if lower => text.extend(format!("%{byte:02x}").into_bytes()),
                _ => text.extend(format!("%{byte:02X}").into_bytes()),
            }
        }
        text
    };
    // RFC 3986, what browsers do, what forms do, what leaves a path's slashes.
    let alike = [(&b"-._~"[..], false), (b"-._~!*'()", false), (b"-._*", true), (b"-._~/", false)];
    alike.iter().flat_map(|(plain, plus)| [form(plain, *plus, false), form(plain, *plus, true)]).collect()
}

fn json_forms(value: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(value) else { return Vec::new() };
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let plain = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned();
    let mut ascii = String::new();
    for c in plain.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            ascii.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    [plain.replace('/', "\\/"), ascii, plain].into_iter().map(String::into_bytes).collect()
}
