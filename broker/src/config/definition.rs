//! What a setting is: its name, its type, which values it takes and what Trestle does with it.
//!
//! The rows themselves are in [`super::definitions`]; parsing, checking, DescribeConfigs and
//! `docs/config.md` all follow from them.

use super::ConfigError;

/// Kafka's types of settings, numbered as DescribeConfigs reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Type {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A whole number of 32 bits.
    Int = 3,
    /// A whole number of 16 bits.
    Short = 4,
    /// A whole number of 64 bits.
    Long = 5,
    /// A decimal number.
    Double = 6,
    /// Texts with commas between them.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

/// Which values of its type a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// All of them.
    Any,
    /// Whole numbers from here on.
    AtLeast(i64),
    /// Whole numbers from the first to the second.
    Between(i64, i64),
    /// The same, and -1.
    MinusOneOrBetween(i64, i64),
    /// Decimal numbers from 0 to 1.
    Fraction,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of these words; it may be empty.
    SomeOf(&'static [&'static str]),
    /// This value alone, for the reason given.
    Only(&'static str, &'static str),
}

/// What Trestle does with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It acts as Kafka documents it.
    Honoured,
    /// It is checked, kept and described, and changes nothing.
    Stored,
    /// It is accepted, for the sake of older files, and dropped.
    Ignored,
}

/// A broker setting that gives a topic setting its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Name of the broker setting.
    pub name: &'static str,
    /// What one of its units is in the topic setting's.
    pub factor: i64,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Kafka's own name for it.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Its value when nobody gives one; `None` for no value.
    pub default: Option<&'static str>,
    /// Which values it takes.
    pub valid: Valid,
    /// What Trestle does with it.
    pub support: Support,
    /// Whether it can be changed while the broker runs.
    pub dynamic: bool,
    /// Whether it is then given to one broker, and never to all together.
    pub per_broker: bool,
    /// For a topic setting, the broker settings that give its default, the strongest first.
    pub synonyms: &'static [Synonym],
    /// What it is, in a sentence.
    pub doc: &'static str,
}

impl Definition {
    /// A row; what is not usual about it is added with the methods below.
    pub(super) const fn new(
        name: &'static str,
        kind: Type,
        default: &'static str,
        support: Support,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            valid: Valid::Any,
            support,
            dynamic: false,
            per_broker: false,
            synonyms: &[],
            doc,
        }
    }

    pub(super) const fn without_default(mut self) -> Self {
        self.default = None;
        self
    }

    pub(super) const fn valid(mut self, valid: Valid) -> Self {
        self.valid = valid;
        self
    }

    pub(super) const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    pub(super) const fn per_broker(mut self) -> Self {
        self.dynamic = true;
        self.per_broker = true;
        self
    }

    pub(super) const fn synonyms(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    /// Whether its value is a secret.
    pub fn sensitive(&self) -> bool {
        self.kind == Type::Password
    }

    /// `value` as it is stored and shown: without blanks around it, words in their own case.
    ///
    /// # Errors
    /// A value that is not of this setting's type, or that it does not take.
    pub fn check(&self, value: &str) -> Result<String, ConfigError> {
        self.parse(value.trim())
            .ok_or_else(|| ConfigError::BadValue {
                name: self.name.into(),
                value: if self.sensitive() { "(hidden)" } else { value }.into(),
                remedy: self.remedy(),
            })
    }

    fn parse(&self, value: &str) -> Option<String> {
        match self.kind {
            Type::Boolean => {
                let value = value.to_ascii_lowercase();
                (matches!(value.as_str(), "true" | "false") && self.takes_word(&value))
                    .then_some(value)
            }
            Type::Short => self.takes_number(value.parse::<i16>().ok()?.into()),
            Type::Int => self.takes_number(value.parse::<i32>().ok()?.into()),
            Type::Long => self.takes_number(value.parse::<i64>().ok()?),
            Type::Double => {
                let number: f64 = value.parse().ok()?;
                let fits = number.is_finite()
                    && (self.valid != Valid::Fraction || (0.0..=1.0).contains(&number));
                fits.then(|| value.to_owned())
            }
            Type::List => {
                let words: Vec<&str> = value
                    .split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .collect();
                words
                    .iter()
                    .all(|word| self.takes_word(word))
                    .then(|| words.join(","))
            }
            Type::String | Type::Class | Type::Password => {
                self.takes_word(value).then(|| value.to_owned())
            }
        }
    }

    fn takes_word(&self, word: &str) -> bool {
        match self.valid {
            Valid::OneOf(words) | Valid::SomeOf(words) => words.contains(&word),
            Valid::Only(only, _) => word == only,
            Valid::Any
            | Valid::AtLeast(_)
            | Valid::Between(..)
            | Valid::MinusOneOrBetween(..)
            | Valid::Fraction => true,
        }
    }

    fn takes_number(&self, number: i64) -> Option<String> {
        let fits = match self.valid {
            Valid::AtLeast(low) => number >= low,
            Valid::Between(low, high) => (low..=high).contains(&number),
            Valid::MinusOneOrBetween(low, high) => number == -1 || (low..=high).contains(&number),
            Valid::Any | Valid::Fraction | Valid::OneOf(_) | Valid::SomeOf(_) | Valid::Only(..) => {
                true
            }
        };
        fits.then(|| number.to_string())
    }

    /// What to give, as the end of a sentence.
    fn remedy(&self) -> String {
        match self.valid {
            Valid::Only(only, why) => format!("only {only} is taken, for {why}"),
            Valid::OneOf(words) => format!("give one of {}", words.join(", ")),
            Valid::SomeOf(words) => {
                format!("give a list, with commas, of {}", words.join(", "))
            }
            Valid::AtLeast(_)
            | Valid::Between(..)
            | Valid::MinusOneOrBetween(..)
            | Valid::Fraction
            | Valid::Any => {
                format!("give {}", self.values())
            }
        }
    }

    /// The values it takes, in words.
    pub fn values(&self) -> String {
        let whole = |bits: u32| match self.valid {
            Valid::AtLeast(low) => format!("a whole number from {low} on"),
            Valid::Between(low, high) => format!("a whole number from {low} to {high}"),
            Valid::MinusOneOrBetween(low, high) => {
                format!("-1, or a whole number from {low} to {high}")
            }
            Valid::Any | Valid::Fraction | Valid::OneOf(_) | Valid::SomeOf(_) | Valid::Only(..) => {
                format!("a whole number of {bits} bits")
            }
        };
        match (self.valid, self.kind) {
            (Valid::Only(only, _), _) => only.to_owned(),
            (Valid::OneOf(words), _) => words.join(", "),
            (Valid::SomeOf(words), _) => format!("a list of {}", words.join(", ")),
            (_, Type::Boolean) => "true or false".into(),
            (_, Type::Short) => whole(16),
            (_, Type::Int) => whole(32),
            (_, Type::Long) => whole(64),
            (Valid::Fraction, Type::Double) => "a number from 0 to 1".into(),
            (_, Type::Double) => "a number".into(),
            (_, Type::List) => "a list, with commas".into(),
            (_, Type::String | Type::Class | Type::Password) => "a text".into(),
        }
    }
}
