//! Listeners: from Kafka's texts to addresses.

use super::ConfigError;

/// One configured listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, `PLAINTEXT` unless given.
    pub name: String,
    /// Address to bind; port 0 takes a free one.
    pub host: String,
    /// Port to bind.
    pub port: u16,
    /// Host and port told to clients, port 0 standing for the port bound; `None` for the address that
    /// the client dialled.
    pub advertised: Option<(String, u16)>,
}

/// The name of a listener that is not given one.
const UNNAMED: &str = "PLAINTEXT";

/// The address of an empty host: all of this machine's.
const ALL_ADDRESSES: &str = "0.0.0.0";

struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

/// The listeners of `listeners`, each with its address of `advertised_listeners`. Those that
/// `controllers` names are left out, for they serve Kafka's own controllers.
pub(super) fn parse(
    listeners: &str,
    advertised_listeners: Option<&str>,
    protocols: &str,
    controllers: Option<&str>,
) -> Result<Vec<ListenerConfig>, ConfigError> {
    let controllers: Vec<String> = words(controllers.unwrap_or_default())
        .map(str::to_uppercase)
        .collect();
    let endpoints = |setting, text: &str| -> Result<Vec<Endpoint>, ConfigError> {
        let mut endpoints = Vec::new();
        for word in words(text) {
            let endpoint = endpoint(setting, word)?;
            if !controllers.contains(&endpoint.name) {
                endpoints.push(endpoint);
            }
        }
        Ok(endpoints)
    };
    let mut configured: Vec<ListenerConfig> = Vec::new();
    for endpoint in endpoints("listeners", listeners)? {
        if configured.iter().any(|other| other.name == endpoint.name) {
            return Err(bad(
                "listeners",
                listeners,
                &format!(
                    "two listeners are called {}; give each a name of its own, as NAME://HOST:PORT",
                    endpoint.name
                ),
            ));
        }
        check_protocol(&endpoint.name, protocols)?;
        let host = if endpoint.host.is_empty() {
            ALL_ADDRESSES.into()
        } else {
            endpoint.host
        };
        configured.push(ListenerConfig {
            name: endpoint.name,
            host,
            port: endpoint.port,
            advertised: None,
        });
    }
    if configured.is_empty() {
        return Err(bad(
            "listeners",
            listeners,
            "give at least one listener for clients, as [NAME://]HOST:PORT",
        ));
    }
    let advertised_listeners = advertised_listeners.unwrap_or_default();
    for endpoint in endpoints("advertised.listeners", advertised_listeners)? {
        let wrong = |why: &str| Err(bad("advertised.listeners", advertised_listeners, why));
        if endpoint.host.is_empty() || endpoint.host == ALL_ADDRESSES || endpoint.host == "::" {
            return wrong(
                "clients cannot connect to all addresses; give the host that they can reach",
            );
        }
        let names: Vec<&str> = configured.iter().map(|own| own.name.as_str()).collect();
        let names = names.join(", ");
        let Some(own) = configured.iter_mut().find(|own| own.name == endpoint.name) else {
            return wrong(&format!(
                "no listener is called {}; there are {names}",
                endpoint.name
            ));
        };
        if own.advertised.is_some() {
            return wrong(&format!("{} has two addresses; give it one", endpoint.name));
        }
        own.advertised = Some((endpoint.host, endpoint.port));
    }
    Ok(configured)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn bad(setting: &str, value: &str, remedy: &str) -> ConfigError {
    ConfigError::BadValue {
        name: setting.into(),
        value: value.into(),
        remedy: remedy.into(),
    }
}

/// `[NAME://]HOST:PORT`; an IPv6 host stands in brackets.
fn endpoint(setting: &str, word: &str) -> Result<Endpoint, ConfigError> {
    let wrong = |remedy: &str| bad(setting, word, remedy);
    let (name, address) = word.split_once("://").unwrap_or((UNNAMED, word));
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return Err(wrong("a listener's name has letters, digits, _, - and ."));
    }
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| wrong("the port is missing; give [NAME://]HOST:PORT"))?;
    let port = port
        .parse()
        .map_err(|_| wrong("the port is not a number from 0 to 65535; give [NAME://]HOST:PORT"))?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err(wrong("put an IPv6 host in brackets, as [::1]:9092"));
    }
    let host = bare.unwrap_or(host);
    if host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(wrong("the host is not one; give [NAME://]HOST:PORT"));
    }
    Ok(Endpoint {
        name: name.to_uppercase(),
        host: host.into(),
        port,
    })
}

/// A listener that was meant to be encrypted or to ask who is there must not be served in the open.
fn check_protocol(name: &str, protocols: &str) -> Result<(), ConfigError> {
    let protocol = words(protocols)
        .filter_map(|word| word.split_once(':'))
        .find(|(listener, _)| listener.trim().eq_ignore_ascii_case(name))
        .map(|(_, protocol)| protocol.trim().to_uppercase());
    let protocol = match protocol {
        Some(protocol) => protocol,
        None if ["SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&name) => name.to_owned(),
        None => return Ok(()),
    };
    if protocol == "PLAINTEXT" {
        return Ok(());
    }
    Err(bad(
        "listeners",
        name,
        &format!(
            "its protocol is {protocol}, and only PLAINTEXT is served so far; map it to that in listener.security.protocol.map, or leave it out"
        ),
    ))
}
