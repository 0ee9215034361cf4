//! AlterClientQuotas (49), versions 0-1.
//!
//! Sets and removes quotas of users, client ids and addresses, each entity alone (KIP-546). They are
//! kept and described; nothing is throttled by them so far.
//!
//! v1 flexible.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::EntryData as Asked;
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::context::Context;
use super::errors;
use super::repeated::{REPEATED, apart};
use crate::metadata::{EntityType, QuotaEntity};

/// Answers an AlterClientQuotas request.
pub async fn handle(ctx: &Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let mut answers = Vec::with_capacity(request.entries.len());
    let mut read = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        match entity(&entry) {
            Ok(entity) => read.push((entity, entry)),
            Err(why) => answers.push(answer(&entry, Some((ResponseError::InvalidRequest, why)))),
        }
    }
    let (once, repeated) = apart(read, |(entity, _)| entity.clone());
    for (_, entry) in &repeated {
        let error = (ResponseError::InvalidRequest, REPEATED.to_owned());
        answers.push(answer(entry, Some(error)));
    }
    let changes = once.iter().map(|(entity, entry)| {
        let ops = entry.ops.iter().map(|op| {
            let value = (!op.remove).then_some(op.value);
            (op.key.to_string(), value)
        });
        (entity.clone(), ops.collect())
    });
    let metadata = &ctx.rooms.metadata;
    let settled = metadata
        .alter_quotas(changes.collect(), request.validate_only)
        .await;
    for ((_, entry), settled) in once.iter().zip(settled) {
        let error = settled
            .err()
            .map(|error| (errors::metadata(&error), error.to_string()));
        answers.push(answer(entry, error));
    }
    AlterClientQuotasResponse::default().with_entries(answers)
}

fn entity(entry: &Asked) -> Result<QuotaEntity, String> {
    let mut entity = QuotaEntity::new();
    for part in &entry.entity {
        let name = &*part.entity_type;
        let kind = EntityType::named(name)
            .ok_or_else(|| format!("Quotas are for user, client-id and ip, not for '{name}'."))?;
        let name = part.entity_name.as_ref().map(ToString::to_string);
        if entity.insert(kind, name).is_some() {
            return Err(format!("{kind} is named more than once."));
        }
    }
    Ok(entity)
}

fn answer(entry: &Asked, error: Option<(ResponseError, String)>) -> EntryData {
    let entity = entry.entity.iter().map(|part| {
        EntityData::default()
            .with_entity_type(part.entity_type.clone())
            .with_entity_name(part.entity_name.clone())
    });
    EntryData::default()
        .with_error_code(
            error
                .as_ref()
                .map_or(errors::NONE, |(error, _)| error.code()),
        )
        .with_error_message(error.map(|(_, message)| StrBytes::from_string(message)))
        .with_entity(entity.collect())
}
