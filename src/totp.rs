//! Codes that a phone shows for half a minute (RFC 6238: SHA-1, six digits, steps of thirty seconds), and the
//! text form of the seed that they are made of. Which code counts, how often and for what, is not decided here.

use std::fmt;
use std::hint::black_box;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Seconds for which a code is shown.
pub const STEP: u64 = 30;
/// Bytes of a seed that is made here: as many as the hash has, as RFC 4226 recommends.
pub const SEED_BYTES: usize = 20;
const DIGITS: usize = 6;
/// RFC 4226 demands 128 bits.
const SEED_MIN: usize = 16;
/// Longer ones are hashed first by some programs and cut by others.
const SEED_MAX: usize = 64;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What codes are made of. It is printed nowhere but where it is handed over.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Vec<u8>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a seed of {} bytes", self.0.len())
    }
}

/// Six digits.
#[derive(Debug, Clone, Copy)]
pub struct Code([u8; DIGITS]);

impl Code {
    /// As it is typed: phones show it in two groups.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|c| *c != b' ').collect();
        let digits: [u8; DIGITS] = digits.try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Self(digits))
    }

    /// Takes the same time wherever they differ.
    fn is(self, other: Self) -> bool {
        let apart = self.0.iter().zip(other.0).fold(0, |apart, (a, b)| black_box(apart | (a ^ b)));
        black_box(apart) == 0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

/// The step in which an instant lies, in seconds since 1970.
#[must_use]
pub fn step_at(second: i64) -> u64 {
    u64::try_from(second).unwrap_or_default() / STEP
}

impl Seed {
    #[must_use]
    pub fn new(bytes: [u8; SEED_BYTES]) -> Self {
        Self(bytes.to_vec())
    }

    /// As the secret's file has it: base32, in groups or not.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('=');
        let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
        for c in text.bytes().filter(|c| !b" -".contains(c)) {
            let c = c.to_ascii_uppercase();
            let Some(value) = (0_u32..).zip(ALPHABET).find(|(_, letter)| **letter == c).map(|(value, _)| value) else {
                return Err("it is no base32: A-Z and 2-7 on one line".into());
            };
            (held, bits) = (held << 5 | value, bits + 5);
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from(held >> bits & 0xff).unwrap_or_default());
                held &= (1 << bits) - 1;
            }
        }
        match bytes.len() {
            SEED_MIN..=SEED_MAX => Ok(Self(bytes)),
            short if short < SEED_MIN => Err(format!("it has {} bits, and 128 are the least", short * 8)),
            long => Err(format!("it has {} bits, and 512 are the most", long * 8)),
        }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// base32 without padding, which is what `otpauth:` wants.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for group in self.0.chunks(5) {
            let held = group.iter().fold(0_u64, |held, byte| held << 8 | u64::from(*byte)) << (8 * (5 - group.len()));
            for place in 0..(group.len() * 8).div_ceil(5) {
                let value = usize::try_from(held >> (35 - 5 * place) & 31).unwrap_or_default();
                text.extend(ALPHABET.get(value).copied().map(char::from));
            }
        }
        text
    }

    /// What the phone shows in a step.
    #[must_use]
    pub fn code(&self, step: u64) -> Code {
        // A key of any length is one.
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.0) else { return Code([0; DIGITS]) };
        mac.update(&step.to_be_bytes());
        let hash = mac.finalize().into_bytes();
        let at = usize::from(hash.last().copied().unwrap_or_default() & 0xf);
        let four = hash.get(at..at + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
        let mut rest = u32::from_be_bytes(four) & 0x7fff_ffff;
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        Code(digits)
    }

    /// The steps among these in which the phone shows this code. All are looked at, whatever is found.
    pub fn steps_of(&self, code: Code, among: impl Iterator<Item = u64>) -> Vec<u64> {
        among.map(|step| (step, self.code(step).is(code))).filter(|(_, same)| *same).map(|(step, _)| step).collect()
    }

    /// What a phone reads from the picture.
    #[must_use]
    pub fn uri(&self, issuer: &str, person: &str) -> String {
        let (issuer, person) = (escaped(issuer), escaped(person));
        format!("otpauth://totp/{issuer}:{person}?secret={}&issuer={issuer}", self.text())
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    let put = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(put).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1: its eight digits end in our six.
    #[test]
    fn the_vectors_of_the_rfc() {
        let seed = Seed::new(*b"12345678901234567890");
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(seed.code(step_at(second)).to_string(), code, "{second}");
        }
        // RFC 4226, appendix D.
        let counted =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (count, code) in (0..).zip(counted) {
            assert_eq!(seed.code(count).to_string(), code, "{count}");
        }
        assert_eq!(step_at(-1), 0);
    }

    #[test]
    fn a_code_is_found_in_its_step_and_no_other() {
        let seed = Seed::new([7; SEED_BYTES]);
        let code = seed.code(100);
        assert_eq!(seed.steps_of(code, 99..=101), [100]);
        assert!(seed.steps_of(code, 101..=103).is_empty());
        let typed = code.to_string();
        let (first, rest) = typed.split_at(3);
        for text in [typed.clone(), format!(" {first} {rest} ")] {
            assert_eq!(seed.steps_of(Code::read(&text).unwrap(), 100..=100), [100], "{text}");
        }
        for bad in ["", "12345", "1234567", "12345a", "-12345", "１２３４５６", "12345\n"] {
            assert!(Code::read(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_seed_is_written_and_read_back_and_nothing_short_is_one() {
        // RFC 4648.
        assert_eq!(Seed(b"foobar".to_vec()).text(), "MZXW6YTBOI");
        for length in SEED_MIN..=SEED_MAX {
            let seed = Seed((0..length).map(|n| u8::try_from(n * 37 % 256).unwrap()).collect());
            assert_eq!(Seed::read(&seed.text()), Ok(seed.clone()), "{length}");
            assert_eq!(Seed::read(&format!(" {}==\n", seed.text().to_lowercase())), Ok(seed));
        }
        let text = "GEZD GNBV-GY3TQOJQ GEZDGNBVGY3TQOJQ";
        assert_eq!(Seed::read(text).unwrap().bytes(), b"12345678901234567890");
        for (bad, why) in [
            ("JBSWY3DPEHPK3PXP", "80 bits"),
            ("", "0 bits"),
            ("GEZDGNB1", "no base32"),
            (&"A".repeat(200), "1000 bits"),
        ] {
            let said = Seed::read(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(!format!("{:?}", Seed::new([7; 20])).contains('7'));
    }

    #[test]
    fn the_address_names_who_and_where_and_nothing_gets_out_of_its_place() {
        let seed = Seed::new(*b"12345678901234567890");
        assert_eq!(
            seed.uri("Shipbell ci1", "anna"),
            "otpauth://totp/Shipbell%20ci1:anna?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Shipbell%20ci1"
        );
        assert!(seed.uri("a&b?c", "x").starts_with("otpauth://totp/a%26b%3Fc:x?secret="));
    }
}
