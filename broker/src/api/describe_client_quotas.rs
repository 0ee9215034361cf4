//! DescribeClientQuotas (48), versions 0-1.
//!
//! Quotas of users, client ids and addresses, as they were given (KIP-546). Nothing is throttled by
//! them so far.
//!
//! v1 flexible.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use crate::metadata::{EntityType, QuotaEntity};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Which names are wanted.
enum Match {
    /// This one; `None` for what is for all.
    Name(Option<String>),
    Any,
}

/// Answers a DescribeClientQuotas request.
pub async fn handle(
    ctx: &Context,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match filter(&request) {
        Ok(filter) => filter,
        Err(why) => {
            return DescribeClientQuotasResponse::default()
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_error_message(Some(StrBytes::from_string(why)))
                .with_entries(None);
        }
    };
    let entries = ctx.image.quotas.iter();
    let entries = entries
        .filter(|(entity, _)| matches(&filter, request.strict, entity))
        .map(|(entity, quotas)| {
            let entity = entity.iter().map(|(kind, name)| {
                EntityData::default()
                    .with_entity_type(StrBytes::from_static_str(kind.name()))
                    .with_entity_name(name.clone().map(StrBytes::from_string))
            });
            let values = quotas.iter().map(|(key, value)| {
                ValueData::default()
                    .with_key(StrBytes::from_string(key.clone()))
                    .with_value(*value)
            });
            EntryData::default()
                .with_entity(entity.collect())
                .with_values(values.collect())
        });
    DescribeClientQuotasResponse::default()
        .with_error_message(None)
        .with_entries(Some(entries.collect()))
}

fn filter(request: &DescribeClientQuotasRequest) -> Result<BTreeMap<EntityType, Match>, String> {
    let mut filter = BTreeMap::new();
    for component in &request.components {
        let name = &*component.entity_type;
        let kind = EntityType::named(name)
            .ok_or_else(|| format!("Quotas are for user, client-id and ip, not for '{name}'."))?;
        let wanted = match (component.match_type, &component._match) {
            (EXACT, Some(name)) => Match::Name(Some(name.to_string())),
            (EXACT, None) => return Err(format!("The {kind} to look for is missing.")),
            (DEFAULT, None) => Match::Name(None),
            (ANY, None) => Match::Any,
            (DEFAULT | ANY, Some(_)) => {
                return Err(format!("A {kind} is named that is not to be looked for."));
            }
            (other, _) => return Err(format!("Match type {other} is not known.")),
        };
        if filter.insert(kind, wanted).is_some() {
            return Err(format!("The filter names {kind} more than once."));
        }
    }
    if filter.len() > 1 && filter.contains_key(&EntityType::Ip) {
        return Err("An ip cannot be looked for together with a user or a client-id.".into());
    }
    Ok(filter)
}

fn matches(filter: &BTreeMap<EntityType, Match>, strict: bool, entity: &QuotaEntity) -> bool {
    let fits = filter
        .iter()
        .all(|(kind, wanted)| match (entity.get(kind), wanted) {
            (Some(name), Match::Name(wanted)) => name == wanted,
            (Some(_), Match::Any) => true,
            (None, _) => false,
        });
    fits && (!strict || entity.len() == filter.len())
}
