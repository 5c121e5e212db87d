//! Colours of a job's output: the one thing of its escape sequences that may stay. Only the colour of
//! letters and boldness; nothing that hides, blinks or paints behind them; and no line colours the next.

use std::fmt::Write as _;

/// How letters look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// 0 to 15, as terminals count them, and the 240 others.
    colour: Option<u8>,
    bold: bool,
}

impl Style {
    #[must_use]
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// What the parameters of an SGR sequence make of it; those that are none of our business do nothing.
    #[must_use]
    pub fn after(mut self, parameters: &str) -> Self {
        let mut numbers = parameters.split([';', ':']).map(|number| match number {
            "" => Some(0),
            _ => number.parse::<u8>().ok(),
        });
        while let Some(number) = numbers.next() {
            match number {
                Some(0) => self = Self::default(),
                Some(1) => self.bold = true,
                Some(22) => self.bold = false,
                Some(colour @ 30..=37) => self.colour = Some(colour - 30),
                Some(colour @ 90..=97) => self.colour = Some(colour - 90 + 8),
                Some(39) => self.colour = None,
                // Their numbers are no attributes.
                Some(ground @ (38 | 48)) => match numbers.next() {
                    Some(Some(5)) => {
                        let colour = numbers.next().flatten();
                        if ground == 38 {
                            self.colour = colour;
                        }
                    }
                    Some(Some(2)) => drop((numbers.next(), numbers.next(), numbers.next())),
                    _ => {}
                },
                _ => {}
            }
        }
        self
    }

    /// The sequence that makes letters so, from whatever they were.
    pub fn write_ansi(self, out: &mut String) {
        out.push_str("\u{1b}[0");
        if self.bold {
            out.push_str(";1");
        }
        match self.colour {
            Some(colour @ 0..=7) => drop(write!(out, ";{}", 30 + colour)),
            Some(colour @ 8..=15) => drop(write!(out, ";{}", 82 + colour)),
            Some(colour) => drop(write!(out, ";38;5;{colour}")),
            None => {}
        }
        out.push('m');
    }

    /// The beginning of the element that makes letters so; false where none is needed.
    #[must_use]
    pub fn write_html(self, out: &mut String) -> bool {
        let colour = self.colour.filter(|colour| *colour < 16);
        let written = match (colour, self.bold) {
            (None, false) => return false,
            (None, true) => write!(out, "<b>"),
            (Some(colour), false) => write!(out, "<b class=\"c{colour} thin\">"),
            (Some(colour), true) => write!(out, "<b class=\"c{colour}\">"),
        };
        written.is_ok()
    }
}
