//! The fields of the requests about transactions.

use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};

use super::{INT8, INT16, INT32, INT32S, INT64, STRING, STRINGS, Schema, array};
use crate::api::guard::{Element, Field, Kind};

const INT64S: Field = Field::new(Kind::Array(Element::Fixed(8)));

pub(super) static ADD_PARTITIONS_TO_TXN: Schema = Schema {
    flexible_from: 3,
    fields: &[
        array::<AddPartitionsToTxnTransaction>(&[
            STRING, // transactional id
            INT64,  // producer id
            INT16,  // producer epoch
            INT8,   // verify only
            array::<AddPartitionsToTxnTopic>(&[STRING, INT32S]),
        ])
        .since(4),
        STRING.until(3), // transactional id
        INT64.until(3),  // producer id
        INT16.until(3),  // producer epoch
        array::<AddPartitionsToTxnTopic>(&[STRING, INT32S]).until(3),
    ],
};

pub(super) static ADD_OFFSETS_TO_TXN: Schema = Schema {
    flexible_from: 3,
    fields: &[
        STRING, // transactional id
        INT64,  // producer id
        INT16,  // producer epoch
        STRING, // group id
    ],
};

pub(super) static END_TXN: Schema = Schema {
    flexible_from: 3,
    fields: &[
        STRING, // transactional id
        INT64,  // producer id
        INT16,  // producer epoch
        INT8,   // committed
    ],
};

pub(super) static WRITE_TXN_MARKERS: Schema = Schema {
    flexible_from: 1,
    fields: &[array::<WritableTxnMarker>(&[
        INT64, // producer id
        INT16, // producer epoch
        INT8,  // committed
        array::<WritableTxnMarkerTopic>(&[STRING, INT32S]),
        INT32, // coordinator epoch
    ])],
};

pub(super) static TXN_OFFSET_COMMIT: Schema = Schema {
    flexible_from: 3,
    fields: &[
        STRING,          // transactional id
        STRING,          // group id
        INT64,           // producer id
        INT16,           // producer epoch
        INT32.since(3),  // generation
        STRING.since(3), // member id
        STRING.since(3), // instance id
        array::<TxnOffsetCommitRequestTopic>(&[
            STRING,
            array::<TxnOffsetCommitRequestPartition>(&[
                INT32,          // partition
                INT64,          // offset
                INT32.since(2), // leader epoch
                STRING,         // metadata
            ]),
        ]),
    ],
};

pub(super) static DESCRIBE_PRODUCERS: Schema = Schema {
    flexible_from: 0,
    fields: &[array::<TopicRequest>(&[STRING, INT32S])],
};

pub(super) static DESCRIBE_TRANSACTIONS: Schema = Schema {
    flexible_from: 0,
    fields: &[STRINGS],
};

pub(super) static LIST_TRANSACTIONS: Schema = Schema {
    flexible_from: 0,
    fields: &[
        STRINGS,         // states
        INT64S,          // producer ids
        INT64.since(1),  // duration
        STRING.since(2), // pattern
    ],
};
