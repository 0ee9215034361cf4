//! Which topics of a source are meant: names, regular expressions, exclusions.

use crate::coordinator::pattern::Pattern;

/// Names and expressions of topics, compiled.
pub struct Selection {
    wanted: Vec<Term>,
    excluded: Vec<Term>,
}

enum Term {
    Name(String),
    Pattern(Box<Pattern>),
}

/// An expression that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression {expression:?} does not parse: {why}")]
pub struct SelectionError {
    expression: String,
    why: String,
}

impl Term {
    fn new(text: &str) -> Result<Self, SelectionError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.chars().all(plain) {
            return Ok(Self::Name(text.into()));
        }
        let pattern = Pattern::new(text).map_err(|why| SelectionError {
            expression: text.into(),
            why,
        })?;
        Ok(Self::Pattern(Box::new(pattern)))
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Pattern(pattern) => pattern.matches(name),
        }
    }
}

impl Selection {
    /// What `wanted` names less what `excluded` names; nothing wanted means everything. A text that could
    /// be the name of a topic is one, any other is an expression that has to match the whole name.
    ///
    /// # Errors
    /// An expression that does not parse.
    pub fn new(wanted: &[String], excluded: &[String]) -> Result<Self, SelectionError> {
        let terms = |texts: &[String]| -> Result<Vec<Term>, SelectionError> {
            texts.iter().map(|text| Term::new(text)).collect()
        };
        Ok(Self {
            wanted: terms(wanted)?,
            excluded: terms(excluded)?,
        })
    }

    /// The names among what is wanted.
    pub fn names(&self) -> Vec<String> {
        let names = self.wanted.iter().filter_map(|term| match term {
            Term::Name(name) => Some(name.clone()),
            Term::Pattern(_) => None,
        });
        names.collect()
    }

    /// Whether the topic `name` is meant. One that is the source's own has to be named.
    pub fn takes(&self, name: &str, internal: bool) -> bool {
        let named = self
            .wanted
            .iter()
            .any(|term| matches!(term, Term::Name(own) if own == name));
        let wanted = match internal || name.starts_with("__") {
            true => named,
            false => self.wanted.is_empty() || self.wanted.iter().any(|term| term.matches(name)),
        };
        wanted && !self.excluded.iter().any(|term| term.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(wanted: &[&str], excluded: &[&str], name: &str) -> bool {
        let own = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        Selection::new(&own(wanted), &own(excluded))
            .unwrap()
            .takes(name, false)
    }

    #[test]
    fn names_expressions_and_exclusions() {
        assert!(takes(&[], &[], "orders"));
        assert!(!takes(&[], &[], "__consumer_offsets"));
        assert!(takes(&["__consumer_offsets"], &[], "__consumer_offsets"));
        assert!(!takes(&["orders"], &[], "orders.v2"));
        assert!(takes(&["a.b"], &[], "a.b") && !takes(&["a.b"], &[], "axb"));
        assert!(takes(&["orders.*"], &[], "orders.v2"));
        assert!(!takes(&["orders.*"], &["orders.v2"], "orders.v2"));
        assert!(!takes(&[], &[".*[.]tmp"], "x.tmp") && takes(&[], &[".*[.]tmp"], "xtmp"));
        assert!(!takes(&["orders|clicks"], &[], "my-clicks"));
        let broken = Selection::new(&["a(".into()], &[]);
        assert!(broken.is_err());
    }
}
