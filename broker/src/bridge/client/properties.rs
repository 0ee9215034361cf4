//! A Kafka client's properties, as far as the bridge heeds them.

use std::collections::BTreeMap;
use std::fmt;

use super::scram::Hash;

/// How to connect to the source.
#[derive(Clone, Debug)]
pub struct Properties {
    /// `client.id`.
    pub client_id: String,
    /// `bootstrap.servers`, if the file has it.
    pub bootstrap: Option<String>,
    pub(super) tls: Option<TlsSettings>,
    pub(super) credentials: Option<Credentials>,
}

/// `ssl.*`.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsSettings {
    /// Certificates (PEM) of who vouches for the source; without them those of the machine.
    pub(super) trusted_pem: Option<String>,
    /// File with the same.
    pub(super) trusted_file: Option<String>,
    /// Own certificates and key (PEM), for sources that ask for them.
    pub(super) own_pem: Option<(String, String)>,
    /// File with both.
    pub(super) own_file: Option<String>,
    /// Whether the certificate must name the host.
    pub(super) check_host: bool,
}

/// What is told to the source about who connects.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, {})", self.mechanism, self.user)
    }
}

/// `sasl.mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram(Hash),
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512) => "SCRAM-SHA-512",
        }
    }
}

/// What is wrong with a file of properties. Values are not repeated: they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// A value that is not supported.
    #[error("{name}: {why}")]
    Value {
        /// The property.
        name: &'static str,
        /// What it takes.
        why: &'static str,
    },
}

fn wrong<T>(name: &'static str, why: &'static str) -> Result<T, PropertiesError> {
    Err(PropertiesError::Value { name, why })
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            client_id: "trestle-bridge".into(),
            bootstrap: None,
            tls: None,
            credentials: None,
        }
    }
}

impl Properties {
    /// Reads the text of a properties file.
    ///
    /// # Errors
    /// What it asks for and is not supported.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        let all = pairs(text);
        let get = |name: &str| all.get(name).filter(|value| !value.is_empty()).cloned();
        let check = all
            .get("ssl.endpoint.identification.algorithm")
            .map(String::as_str);
        let protocol = get("security.protocol").unwrap_or_else(|| "PLAINTEXT".into());
        let (tls, sasl) = match protocol.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            _ => {
                return wrong(
                    "security.protocol",
                    "PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL are known",
                );
            }
        };
        Ok(Self {
            client_id: get("client.id").unwrap_or_else(|| "trestle-bridge".into()),
            bootstrap: get("bootstrap.servers"),
            tls: tls.then(|| tls_settings(&get, check)).transpose()?,
            credentials: sasl.then(|| credentials(&get)).transpose()?,
        })
    }
}

type Get<'a> = dyn Fn(&str) -> Option<String> + 'a;

fn tls_settings(get: &Get<'_>, check: Option<&str>) -> Result<TlsSettings, PropertiesError> {
    let is_pem = |name: &str| get(name).is_some_and(|kind| kind.eq_ignore_ascii_case("PEM"));
    let trusted_file = get("ssl.truststore.location").or_else(|| get("ssl.ca.location"));
    if get("ssl.truststore.location").is_some() && !is_pem("ssl.truststore.type") {
        return wrong(
            "ssl.truststore.type",
            "only PEM is read; keytool -exportcert -rfc writes it",
        );
    }
    if get("ssl.keystore.location").is_some() && !is_pem("ssl.keystore.type") {
        return wrong("ssl.keystore.type", "only PEM is read");
    }
    if get("ssl.key.password").is_some() {
        return wrong("ssl.key.password", "encrypted keys are not read");
    }
    let check_host = match check {
        None | Some("https") => true,
        Some("" | "none") => false,
        Some(_) => return wrong("ssl.endpoint.identification.algorithm", "https or none"),
    };
    Ok(TlsSettings {
        trusted_pem: get("ssl.truststore.certificates"),
        trusted_file,
        own_pem: get("ssl.keystore.certificate.chain").zip(get("ssl.keystore.key")),
        own_file: get("ssl.keystore.location"),
        check_host,
    })
}

fn credentials(get: &Get<'_>) -> Result<Credentials, PropertiesError> {
    let mechanism = get("sasl.mechanism").or_else(|| get("sasl.mechanisms"));
    let mechanism = match mechanism.as_deref() {
        Some("PLAIN") => Mechanism::Plain,
        Some("SCRAM-SHA-256") => Mechanism::Scram(Hash::Sha256),
        Some("SCRAM-SHA-512") => Mechanism::Scram(Hash::Sha512),
        _ => {
            return wrong(
                "sasl.mechanism",
                "PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are known",
            );
        }
    };
    let jaas = get("sasl.jaas.config").unwrap_or_default();
    let user = get("sasl.username").or_else(|| jaas_value(&jaas, "username"));
    let password = get("sasl.password").or_else(|| jaas_value(&jaas, "password"));
    match (user, password) {
        (Some(user), Some(password)) => Ok(Credentials {
            mechanism,
            user,
            password,
        }),
        _ => wrong("sasl.jaas.config", "username and password are needed"),
    }
}

/// `name="value"` in a line of JAAS.
fn jaas_value(jaas: &str, name: &str) -> Option<String> {
    for (at, _) in jaas.match_indices(name) {
        let before = jaas[..at].chars().next_back();
        let rest = jaas[at + name.len()..].trim_start();
        if !before.is_none_or(char::is_whitespace) || !rest.starts_with('=') {
            continue;
        }
        let rest = rest[1..].trim_start();
        let quote = rest.chars().next()?;
        if quote != '"' && quote != '\'' {
            let end = rest
                .find(|c: char| c.is_whitespace() || c == ';')
                .unwrap_or(rest.len());
            return Some(rest[..end].into());
        }
        let mut value = String::new();
        let mut chars = rest[1..].chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => value.extend(chars.next()),
                c if c == quote => return Some(value),
                c => value.push(c),
            }
        }
    }
    None
}

/// The pairs of a Java properties file: `name=value`, comments, lines that go on behind a backslash.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while line.ends_with('\\') && !line.ends_with("\\\\") {
            line.pop();
            match lines.next() {
                Some(more) => line.push_str(more.trim_start()),
                None => break,
            }
        }
        if let Some((name, value)) = line.split_once(['=', ':']) {
            let value = value.trim().replace("\\n", "\n");
            all.insert(name.trim().to_owned(), unescape(&value));
        }
    }
    all
}

/// Takes a backslash off, but for those that JAAS means.
fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_client_s_file_is_read() {
        let text = "# prod\nbootstrap.servers=a:9092,b:9092\nsecurity.protocol=SASL_SSL\n\
            sasl.mechanism = SCRAM-SHA-512\nclient.id: mirror\n\
            sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n\
            \x20 username=\"ann\" password='p=w;\u{e9}';\nssl.truststore.type=PEM\n\
            ssl.truststore.location=/ca.pem\n";
        let read = Properties::parse(text).unwrap();
        assert_eq!(read.bootstrap.as_deref(), Some("a:9092,b:9092"));
        assert_eq!(read.client_id, "mirror");
        let credentials = read.credentials.unwrap();
        assert_eq!(credentials.mechanism, Mechanism::Scram(Hash::Sha512));
        assert_eq!(credentials.user, "ann");
        assert_eq!(credentials.password, "p=w;\u{e9}");
        assert!(!format!("{credentials:?}").contains("p=w"));
        let tls = read.tls.unwrap();
        assert_eq!(tls.trusted_file.as_deref(), Some("/ca.pem"));
        assert!(tls.check_host);
    }

    #[test]
    fn what_is_not_supported_is_named_without_its_value() {
        for (text, name) in [
            ("security.protocol=SECRET", "security.protocol"),
            (
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=GSSAPI",
                "sasl.mechanism",
            ),
            (
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN",
                "sasl.jaas.config",
            ),
            (
                "security.protocol=SSL\nssl.truststore.location=x.jks",
                "ssl.truststore.type",
            ),
        ] {
            let error = Properties::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains("SECRET"));
        }
        assert!(Properties::parse("").unwrap().tls.is_none());
    }
}
