//! What holds for a group: its own settings over the broker's, within the broker's bounds.

use std::collections::BTreeMap;

use super::{Config, ConfigError};

/// Effective settings of one group under the consumer protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `consumer.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
}

/// A setting that groups and the broker have, and the bounds of both.
struct Bounded {
    own: &'static str,
    broker: &'static str,
    min: &'static str,
    max: &'static str,
    of: fn(&Config) -> [i32; 3],
}

const SESSION: Bounded = Bounded {
    own: "consumer.session.timeout.ms",
    broker: "group.consumer.session.timeout.ms",
    min: "group.consumer.min.session.timeout.ms",
    max: "group.consumer.max.session.timeout.ms",
    of: |config| {
        [
            config.group_consumer_session_timeout_ms,
            config.group_consumer_min_session_timeout_ms,
            config.group_consumer_max_session_timeout_ms,
        ]
    },
};

const HEARTBEAT: Bounded = Bounded {
    own: "consumer.heartbeat.interval.ms",
    broker: "group.consumer.heartbeat.interval.ms",
    min: "group.consumer.min.heartbeat.interval.ms",
    max: "group.consumer.max.heartbeat.interval.ms",
    of: |config| {
        [
            config.group_consumer_heartbeat_interval_ms,
            config.group_consumer_min_heartbeat_interval_ms,
            config.group_consumer_max_heartbeat_interval_ms,
        ]
    },
};

impl Bounded {
    /// What holds for a group with these `settings`; a value from before the bounds were narrowed is
    /// brought within them.
    fn value(&self, settings: &BTreeMap<String, String>, config: &Config) -> i32 {
        let [default, min, max] = (self.of)(config);
        let own = settings.get(self.own).and_then(|own| own.parse().ok());
        own.map_or(default, |own: i32| own.max(min).min(max))
    }

    /// Refuses `value`, which `name` has, outside of the bounds.
    fn check(&self, name: &str, value: i32, config: &Config) -> Result<(), ConfigError> {
        let [_, min, max] = (self.of)(config);
        let (bound, side) = match value {
            low if low < min => (
                self.min,
                format!("greater than or equal to {} ({min})", self.min),
            ),
            high if high > max => (
                self.max,
                format!("less than or equal to {} ({max})", self.max),
            ),
            _ => return Ok(()),
        };
        Err(ConfigError::Conflict(format!(
            "{name} ({value}) must be {side}; choose another, or start the broker with another {bound}"
        )))
    }
}

impl GroupConfig {
    /// What holds for a group with these `settings` of its own.
    pub fn effective(settings: &BTreeMap<String, String>, config: &Config) -> Self {
        Self {
            session_timeout_ms: SESSION.value(settings, config),
            heartbeat_interval_ms: HEARTBEAT.value(settings, config),
        }
    }
}

/// Checks a group's settings against the broker's bounds and each other.
pub(super) fn check_group(
    settings: &BTreeMap<String, String>,
    config: &Config,
) -> Result<(), ConfigError> {
    for bounded in [SESSION, HEARTBEAT] {
        if let Some(Ok(own)) = settings.get(bounded.own).map(|own| own.parse()) {
            bounded.check(bounded.own, own, config)?;
        }
    }
    let own = GroupConfig::effective(settings, config);
    check_pace(
        [SESSION.own, HEARTBEAT.own],
        [own.session_timeout_ms, own.heartbeat_interval_ms],
    )
}

/// Checks the broker's own.
pub(super) fn check_broker(config: &Config) -> Result<(), ConfigError> {
    for bounded in [SESSION, HEARTBEAT] {
        let [value, min, max] = (bounded.of)(config);
        if min > max {
            return Err(ConfigError::Conflict(format!(
                "{} ({min}) is above {} ({max}); lower the one or raise the other",
                bounded.min, bounded.max
            )));
        }
        bounded.check(bounded.broker, value, config)?;
    }
    check_pace(
        [SESSION.broker, HEARTBEAT.broker],
        [
            config.group_consumer_session_timeout_ms,
            config.group_consumer_heartbeat_interval_ms,
        ],
    )
}

/// A member has to be able to say that it is alive before it is given up on.
fn check_pace(names: [&str; 2], [session, heartbeat]: [i32; 2]) -> Result<(), ConfigError> {
    match heartbeat < session {
        true => Ok(()),
        false => Err(ConfigError::Conflict(format!(
            "{} ({heartbeat}) must be less than {} ({session}), or no member lives",
            names[1], names[0]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn own_settings_go_before_the_brokers_within_its_bounds() {
        let mut config = Config::default();
        let session = |value: &str, config: &Config| {
            let own = settings(&[(SESSION.own, value)]);
            GroupConfig::effective(&own, config).session_timeout_ms
        };
        let none = GroupConfig::effective(&BTreeMap::new(), &config);
        assert_eq!(none.session_timeout_ms, 45_000);
        assert_eq!(none.heartbeat_interval_ms, 5_000);
        assert_eq!(session("50000", &config), 50_000);
        config.group_consumer_max_session_timeout_ms = 46_000;
        assert_eq!(session("50000", &config), 46_000);
        assert_eq!(session("1", &config), 45_000);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let config = Config::default();
        for (name, value, why) in [
            (SESSION.own, "44999", SESSION.min),
            (SESSION.own, "60001", SESSION.max),
            (HEARTBEAT.own, "4999", HEARTBEAT.min),
            (HEARTBEAT.own, "15001", HEARTBEAT.max),
        ] {
            let refused = check_group(&settings(&[(name, value)]), &config).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        let fits = [(SESSION.own, "60000"), (HEARTBEAT.own, "15000")];
        assert_eq!(check_group(&settings(&fits), &config), Ok(()));
    }

    #[test]
    fn a_broker_keeps_its_own_bounds() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            assert_eq!(check_broker(&config), Ok(()));
            change(&mut config);
            check_broker(&config).unwrap_err().to_string()
        };
        let low = refused(|config| config.group_consumer_session_timeout_ms = 300);
        assert!(low.contains(SESSION.min), "{low}");
        let high = refused(|config| config.group_consumer_heartbeat_interval_ms = 20_000);
        assert!(high.contains(HEARTBEAT.max), "{high}");
        let crossed = refused(|config| config.group_consumer_min_session_timeout_ms = 70_000);
        assert!(crossed.contains("is above"), "{crossed}");
        let slow = refused(|config| {
            config.group_consumer_min_session_timeout_ms = 1;
            config.group_consumer_session_timeout_ms = 5_000;
        });
        assert!(slow.contains("must be less than"), "{slow}");
    }
}
