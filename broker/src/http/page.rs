//! Text in Prometheus' format, for what is computed when the metrics page is asked for.

use std::fmt::Write;

/// A family of gauges: name and help.
pub(super) type Gauge = (&'static str, &'static str);

/// Some families of gauges.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Adds a family with these samples, labels and value each; none without samples.
    pub(super) fn family(
        &mut self,
        (name, help): Gauge,
        samples: impl Iterator<Item = (String, String)>,
    ) {
        let mut samples = samples.peekable();
        if samples.peek().is_none() {
            return;
        }
        let fine = "a String takes all text";
        writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} gauge").expect(fine);
        for (labels, value) in samples {
            match labels.is_empty() {
                true => writeln!(self.0, "{name} {value}").expect(fine),
                false => writeln!(self.0, "{name}{{{labels}}} {value}").expect(fine),
            }
        }
    }

    /// All of it.
    pub(super) fn text(self) -> String {
        self.0
    }
}

/// What a label may hold.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Gauge = ("some", "Help");

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn a_family_without_samples_is_not_there() {
        let mut page = Page::default();
        page.family(SOME, std::iter::empty());
        assert_eq!(page.0, "");
        let samples = [("a=\"b\"".to_owned(), "1".to_owned())];
        page.family(SOME, samples.into_iter());
        assert_eq!(
            page.text(),
            "# HELP some Help.\n# TYPE some gauge\nsome{a=\"b\"} 1\n"
        );
    }
}
