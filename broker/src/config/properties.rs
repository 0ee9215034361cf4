//! Java properties files: the syntax alone.
//!
//! Comments with `#` and `!`, `=`, `:` or a blank after the key, `\` at the end of a line that goes
//! on, and the escapes `\t \n \r \f \uXXXX`. (`java.util.Properties.load`, in UTF-8.)

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    /// The key.
    pub(super) name: String,
    /// The value; empty if there is none.
    pub(super) value: String,
    /// The line it starts on, from 1.
    pub(super) line: usize,
}

/// The entries of `text`, in order.
pub(super) fn parse(text: &str) -> Result<Vec<Property>, String> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while goes_on(&whole) {
            whole.pop();
            match lines.next() {
                Some((_, more)) => whole.push_str(more.trim_start()),
                None => break,
            }
        }
        let entry = split(&whole).map_err(|why| format!("line {}: {why}", index + 1))?;
        entries.push(Property {
            name: entry.0,
            value: entry.1,
            line: index + 1,
        });
    }
    Ok(entries)
}

/// Whether the line ends in a `\` that is not itself escaped.
fn goes_on(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

fn split(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(index, _)| index);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    Ok((unescape(name)?, unescape(value)?))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                plain.push(code.filter(|_| digits.len() == 4).ok_or_else(|| {
                    format!("\\u{digits} is not a character; write it as itself, in UTF-8")
                })?);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}
