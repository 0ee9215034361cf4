//! Regular expressions in the syntax of RE2, as clients send them to choose topics or transactional ids.
//!
//! An expression has to match the whole name. Names are taken byte by byte, and classes like `\w` are
//! ASCII. An expression becomes an automaton of bounded size; one that is too large counts as invalid.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

/// What an automaton may take in memory, and what its making may.
const LARGEST: usize = 1 << 20;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Pattern(dense::DFA<Vec<u32>>);

impl Pattern {
    /// Compiles `expression`.
    ///
    /// # Errors
    /// What is wrong with `expression`, in one line.
    pub fn new(expression: &str) -> Result<Self, String> {
        let automaton = dense::Builder::new()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(LARGEST)),
            )
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .match_kind(MatchKind::All)
                    .dfa_size_limit(Some(LARGEST))
                    .determinize_size_limit(Some(LARGEST)),
            )
            .build(&without_quotes(expression));
        automaton.map(Self).map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            let text = cause.to_string();
            let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
            let last = last.unwrap_or("not understood");
            last.trim_start_matches("error: ").to_owned()
        })
    }

    /// Whether all of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let input = Input::new(name).anchored(Anchored::Yes);
        // With all matches wanted, the longest is reported.
        matches!(self.0.try_search_fwd(&input), Ok(Some(end)) if end.offset() == name.len())
    }
}

/// Writes out what RE2 lets one quote between `\Q` and `\E`.
fn without_quotes(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(quoted) = from.strip_prefix("\\Q") {
            let (text, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            for c in text.chars() {
                if c.is_ascii_punctuation() {
                    out.push('\\');
                }
                out.push(c);
            }
            rest = after;
        } else {
            let escaped = from.chars().take(2).map(char::len_utf8).sum();
            let (pair, after) = from.split_at(escaped);
            out.push_str(pair);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, name: &str) -> bool {
        Pattern::new(expression).unwrap().matches(name)
    }

    #[test]
    fn the_whole_name_matches() {
        assert!(matches("a|ab", "ab"));
        assert!(matches("ab|a", "a"));
        assert!(!matches("a", "ab"));
        assert!(!matches("b", "ab"));
        assert!(matches(".*", ""));
        assert!(matches("^orders-[0-9]+$", "orders-17"));
        assert!(matches(r"(?i)Orders\.\w{2}", "orders.eu"));
        assert!(matches("(?P<name>a+)(?:b|c)", "aac"));
        assert!(matches("[[:alpha:]]+", "abc"));
        assert!(matches(r"\d+\b", "12"));
        assert!(matches("(?x)a b # remark", "ab"));
    }

    #[test]
    fn quotes_are_written_out() {
        assert!(matches(r"\Qa.b\E+", "a.bbb"));
        assert!(!matches(r"\Qa.b\E", "axb"));
        assert!(matches(r"\Q[", "["));
        assert!(matches(r"\\Q", r"\Q"));
    }

    #[test]
    fn what_is_not_valid_is_said() {
        for bad in [
            "[",
            "(",
            "a)|(b",
            "*",
            "a{2,1}",
            r"\",
            r"(a)\1",
            "(?=a)",
            "a{1000}{1000}",
        ] {
            let error = Pattern::new(bad).err();
            let error = error.unwrap_or_else(|| panic!("{bad} was accepted"));
            assert!(!error.is_empty() && !error.contains('\n'), "{bad}: {error}");
        }
    }
}
