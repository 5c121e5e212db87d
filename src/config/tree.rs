//! A TOML file as a tree whose every key and value knows where it stands, and the typed readings of a
//! value. A reading that fails tells why and gives `None`; reading then goes on. Which keys there are
//! is decided in `keys.rs`.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::message::{Findings, Mistake, Source, Spot, closest};
use crate::model::time::{BadSpan, Seconds};
use crate::model::words::UnknownWord;

/// A table, in the order of the file.
#[derive(Debug, Clone)]
pub struct Table {
    /// How it is said: `[job.test]`, or nothing for the file itself.
    pub title: String,
    /// Its header or braces.
    pub spot: Spot,
    pub entries: Vec<Entry>,
}

/// A key with its value, or an item of a list under the list's key.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_spot: Spot,
    pub spot: Spot,
    pub data: Data,
}

#[derive(Debug, Clone)]
pub enum Data {
    Text(String),
    /// `None`: larger than fits.
    Number(Option<i64>),
    Flag(bool),
    /// As it is written.
    Decimal(String),
    Date,
    List(Vec<Entry>),
    Table(Table),
}

impl Table {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether it was written as a `[header]`, below which everything belongs to it.
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.spot.text().starts_with('[')
    }

    /// The lines from its header to its last value.
    #[must_use]
    pub fn lines(&self) -> std::ops::RangeInclusive<usize> {
        let end = |spot: &Spot| spot.source.position(spot.span.end).0;
        let of_entry = |entry: &Entry| match &entry.data {
            Data::Table(table) => *table.lines().end(),
            _ => end(&entry.spot),
        };
        let last = self.entries.iter().map(of_entry).max().unwrap_or_default();
        self.spot.line()..=last.max(end(&self.spot))
    }

    /// This table over `below`: tables merge, the rest replaces.
    #[must_use]
    pub fn over(&self, below: Option<&Table>) -> Table {
        let mut merged = self.clone();
        for entry in below.map(|table| table.entries.as_slice()).unwrap_or_default() {
            match merged.entries.iter_mut().find(|own| own.key == entry.key) {
                None => merged.entries.push(entry.clone()),
                Some(Entry { data: Data::Table(own), .. }) => {
                    if let Data::Table(below) = &entry.data {
                        *own = own.over(Some(below));
                    }
                }
                Some(_) => {}
            }
        }
        merged
    }
}

impl Entry {
    fn kind(&self) -> &'static str {
        match self.data {
            Data::Text(_) => "a text",
            Data::Number(_) => "a number",
            Data::Decimal(_) => "a decimal number",
            Data::Flag(_) => "true or false",
            Data::Date => "a date",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    fn wrong(&self, wanted: &str, findings: &Findings) {
        let mut mistake = Mistake::new(&self.spot, format!("`{}` takes {wanted}, found {}", self.key, self.kind()));
        if matches!(self.data, Data::Number(_) | Data::Decimal(_) | Data::Flag(_) | Data::Date)
            && wanted.contains("text")
        {
            mistake = mistake.label(format!("write \"{}\" (in quotes)", self.spot.text()));
        }
        if matches!(&self.data, Data::Text(text) if text == "true" || text == "false") && wanted.contains("true") {
            mistake = mistake.label("write it without quotes");
        }
        findings.add(&mistake);
    }

    /// Tells that this value is wrong.
    pub fn refuse(&self, headline: impl Into<String>, label: impl Into<String>, findings: &Findings) {
        findings.add(&Mistake::new(&self.spot, headline).label(label));
    }

    /// A text without what looks like an interpolation.
    pub fn text(&self, findings: &Findings) -> Option<String> {
        let Data::Text(text) = &self.data else {
            self.wrong("a text", findings);
            return None;
        };
        if let Some(at) = text.find("${{") {
            let found = text.get(at..).unwrap_or_default();
            let found = found.find("}}").and_then(|end| found.get(..end + 2)).unwrap_or("${{");
            findings.add(
                &Mistake::new(&self.spot, format!("`{found}` is not expanded"))
                    .label("values are literal; only the shell of a step expands, as in \"$NAME\"")
                    .note("a secret: env = { NAME = { secret = \"name\" } }, with its file in /etc/shipbell/secrets"),
            );
            return None;
        }
        if text.contains('\0') {
            self.refuse(format!("`{}` contains a NUL character", self.key), "no program can be given that", findings);
            return None;
        }
        Some(text.clone())
    }

    /// A text that parses.
    pub fn parsed<T: FromStr>(&self, findings: &Findings) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(findings)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(format!("`{text}` cannot stand in `{}`", self.key), error.to_string(), findings);
                None
            }
        }
    }

    /// One of an enum's words.
    pub fn word<T: FromStr<Err = UnknownWord>>(&self, findings: &Findings) -> Option<T> {
        match self.text(findings)?.parse::<T>() {
            Ok(word) => Some(word),
            Err(UnknownWord { found, legal }) => {
                let said = legal.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
                let mut mistake = Mistake::new(&self.spot, format!("`{}` is one of {said}", self.key));
                if let Some(word) = closest(&found, legal.iter().copied()) {
                    mistake = mistake.label(format!("did you mean \"{word}\"?"));
                }
                findings.add(&mistake);
                None
            }
        }
    }

    pub fn flag(&self, findings: &Findings) -> Option<bool> {
        match self.data {
            Data::Flag(flag) => Some(flag),
            _ => {
                self.wrong("true or false", findings);
                None
            }
        }
    }

    /// A whole number from `range`.
    pub fn count(&self, range: std::ops::RangeInclusive<u32>, findings: &Findings) -> Option<u32> {
        let Data::Number(number) = self.data else {
            self.wrong("a whole number", findings);
            return None;
        };
        let fits = number.and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if fits.is_none() {
            let said = format!("`{}` is a number from {} to {}", self.key, range.start(), range.end());
            self.refuse(said, "", findings);
        }
        fits
    }

    /// A span of time with its unit.
    pub fn span(&self, findings: &Findings) -> Option<Seconds> {
        let no_unit = |number: &str| {
            let mistake = Mistake::new(&self.spot, format!("`{}` needs a unit", self.key));
            findings.add(&mistake.label(format!("write \"{number}s\", \"{number}m\" or \"{number}h\" (in quotes)")));
        };
        if let Data::Number(Some(number)) = self.data {
            no_unit(&number.to_string());
            return None;
        }
        let Data::Text(_) = self.data else {
            self.wrong("a span of time like \"20m\"", findings);
            return None;
        };
        match self.text(findings)?.parse::<Seconds>() {
            Ok(span) => Some(span),
            Err(BadSpan::NoUnit(number)) => {
                no_unit(&number);
                None
            }
            Err(error) => {
                self.refuse(format!("`{}` is no span of time", self.key), error.to_string(), findings);
                None
            }
        }
    }

    /// A number of bytes: "64K", "64M" or "2G".
    pub fn size(&self, findings: &Findings) -> Option<u64> {
        let label = "write it like \"64M\" or \"2G\" (K, M, G or T, in quotes)";
        if let Data::Number(_) = self.data {
            self.refuse(format!("`{}` needs a unit", self.key), label, findings);
            return None;
        }
        let text = self.text(findings)?;
        let shift = match text.chars().last() {
            Some('K') => 10,
            Some('M') => 20,
            Some('G') => 30,
            Some('T') => 40,
            _ => 0,
        };
        let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
        let bytes = digits.parse::<u32>().ok().filter(|_| shift > 0).map(|n| u64::from(n) << shift);
        if bytes.is_none() {
            self.refuse(format!("`{}` is no size", self.key), label, findings);
        }
        bytes
    }

    /// The items of a list, or this one value: one or a list wherever a list stands.
    #[must_use]
    pub fn items(&self) -> Vec<Entry> {
        match &self.data {
            Data::List(items) => items.clone(),
            _ => vec![self.clone()],
        }
    }

    /// One text or a list of them, each with its place; empty texts are refused.
    pub fn texts(&self, findings: &Findings) -> Option<Vec<(String, Entry)>> {
        let items = self.items();
        let read = items.into_iter().map(|item| {
            let text = item.text(findings)?;
            if text.trim().is_empty() {
                item.refuse(format!("an empty text in `{}`", self.key), "remove it or fill it in", findings);
                return None;
            }
            Some((text, item))
        });
        let read: Vec<_> = read.collect();
        read.into_iter().collect()
    }

    /// A table; `like` shows one.
    pub fn table(&self, like: &str, findings: &Findings) -> Option<&Table> {
        match &self.data {
            Data::Table(table) => Some(table),
            _ => {
                let headline = format!("`{}` takes a table, found {}", self.key, self.kind());
                self.refuse(headline, format!("write it like {like}"), findings);
                None
            }
        }
    }
}

/// Parses a whole file. Every error of syntax is told; `None` where the rest could not be trusted to
/// mean what it seems to. The second value: lines about which enough has been said.
pub fn parse(source: &Arc<Source>, findings: &Findings) -> Option<(Table, Vec<usize>)> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let mut lines = Vec::new();
    let mut sound = true;
    for error in &errors {
        let at = error.span().unwrap_or(0..0);
        let mistake = crate::config::syntax::mistake(source, error.message(), at.clone());
        lines.push(source.position(at.start).0);
        sound &= crate::config::syntax::recovers(error.message());
        findings.add(&mistake);
    }
    let table = convert_table(source, document.get_ref(), document.span(), String::new());
    sound.then_some((table, lines))
}

fn convert_table(source: &Arc<Source>, table: &DeTable<'_>, span: Range<usize>, title: String) -> Table {
    let spot = |span| Spot { source: source.clone(), span };
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| {
            let name = key.get_ref().as_ref();
            let title = match title.strip_suffix(']') {
                Some(outer) => format!("{outer}.{name}]"),
                None => format!("[{name}]"),
            };
            convert(source, name, spot(key.span()), value, title)
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_spot.span.start);
    Table { title, spot: spot(span), entries }
}

fn convert(source: &Arc<Source>, key: &str, key_spot: Spot, value: &Spanned<DeValue<'_>>, title: String) -> Entry {
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(number) => Data::Number(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => Data::Decimal(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Data::Flag(*flag),
        DeValue::Datetime(_) => Data::Date,
        DeValue::Array(items) => {
            let item = |item| convert(source, key, key_spot.clone(), item, title.clone());
            Data::List(items.iter().map(item).collect())
        }
        DeValue::Table(table) => Data::Table(convert_table(source, table, value.span(), title)),
    };
    Entry { key: key.to_owned(), key_spot, spot: Spot { source: source.clone(), span: value.span() }, data }
}
