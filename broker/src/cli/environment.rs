//! Settings from environment variables.
//!
//! `TRESTLE_X` is flag `--x`, or setting `trestle.x`. `KAFKA_X_Y` is Kafka's setting `x.y`, as the
//! container images of Kafka have it, so that their compose files work. Other variables that start
//! so are not ours to judge: orchestrators make some of their own (`TRESTLE_PORT`, `KAFKA_SERVICE_HOST`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use trestle::config::{ConfigError, Origin, Settings, definitions};

/// Flags whose setting is not named after them.
const FLAGS: &[(&str, &str)] = &[
    ("TRESTLE_LISTEN", "listeners"),
    ("TRESTLE_ADVERTISE", "advertised.listeners"),
    ("TRESTLE_NODE_ID", "node.id"),
    ("TRESTLE_CLUSTER_ID", "cluster.id"),
];

/// The variables that may be settings.
#[derive(Debug)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("TRESTLE_") || name.starts_with("KAFKA_"))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        Self { variables }
    }

    /// `TRESTLE_CONFIG`.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.variables.get("TRESTLE_CONFIG").map(PathBuf::from)
    }

    /// Puts what was given into `settings`.
    pub(super) fn apply(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let kafkas = definitions::all_broker()
            .iter()
            .map(|definition| definition.name)
            .chain(definitions::unused_kafka_names())
            .filter(|name| !name.starts_with("trestle."));
        for name in kafkas {
            self.give(&variable("KAFKA_", name), name, settings)?;
        }
        self.listen_where_advertised(settings)?;
        let ours = definitions::BROKER.iter().map(|definition| definition.name);
        for name in ours.filter_map(|name| name.strip_prefix("trestle.")) {
            let setting = format!("trestle.{name}");
            self.give(&variable("TRESTLE_", name), &setting, settings)?;
        }
        for (variable, name) in FLAGS {
            self.give(variable, name, settings)?;
        }
        self.give_no_http(settings)?;
        self.give_pairs(settings)
    }

    fn give(&self, variable: &str, name: &str, settings: &mut Settings) -> Result<(), ConfigError> {
        match self.variables.get(variable) {
            Some(value) => settings.set(name, value, Origin::Environment(variable.into())),
            None => Ok(()),
        }
    }

    /// Images of Kafka that are given `KAFKA_ADVERTISED_LISTENERS` alone listen on the same ports.
    fn listen_where_advertised(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let variable = "KAFKA_ADVERTISED_LISTENERS";
        let Some(advertised) = self.variables.get(variable) else {
            return Ok(());
        };
        if settings.get("listeners").is_some() || self.variables.contains_key("TRESTLE_LISTEN") {
            return Ok(());
        }
        let listeners: Vec<String> = advertised
            .split(',')
            .filter_map(|word| {
                let (name, address) = word.trim().split_once("://")?;
                let (_, port) = address.rsplit_once(':')?;
                Some(format!("{name}://0.0.0.0:{port}"))
            })
            .collect();
        if listeners.is_empty() {
            return Ok(());
        }
        let origin = Origin::Environment(variable.into());
        settings.set("listeners", &listeners.join(","), origin)
    }

    fn give_no_http(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let variable = "TRESTLE_NO_HTTP";
        match self.variables.get(variable).map(|value| value.trim()) {
            None | Some("false" | "") => Ok(()),
            Some("true") => {
                let origin = Origin::Environment(variable.into());
                settings.set("trestle.http", "none", origin)
            }
            Some(other) => Err(ConfigError::BadValue {
                name: variable.into(),
                value: other.into(),
                remedy: "give true or false".into(),
            }),
        }
    }

    /// `TRESTLE_SET`: pairs as `--set` takes them, with `;` between them.
    fn give_pairs(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let variable = "TRESTLE_SET";
        let pairs = self.variables.get(variable).map_or("", String::as_str);
        for pair in pairs.split(';').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| ConfigError::BadValue {
                name: variable.into(),
                value: pair.into(),
                remedy: "give NAME=VALUE, with ; between two of them".into(),
            })?;
            settings.set(name.trim(), value, Origin::Environment(variable.into()))?;
        }
        Ok(())
    }
}

/// The variable of a setting.
fn variable(prefix: &str, name: &str) -> String {
    let name = name.replace(['.', '-'], "_").to_uppercase();
    format!("{prefix}{name}")
}
