//! The bytes of one partition of a Produce request.
//!
//! The first byte chooses the rules, and whether the CRC is made right, which no mutation would ever
//! hit; the rest is the batch. Nothing may panic, abort or hang, unpacking runs in bounded memory, and
//! a batch that was accepted is accepted again as it would be stored.
#![no_main]

use std::ops::ControlFlow;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use trestle::partition::batch::{self, HEADER_BYTES, Rules};
use trestle::types::LeaderEpoch;
use trestle_fuzz::{Counting, most_held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: i64 = 1_700_000_000_000;
const UNPACKED_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [flags, data @ ..] = data else { return };
    let mut data = data.to_vec();
    if flags & 1 != 0 {
        seal(&mut data);
    }
    let rules = Rules {
        max_message_bytes: 1 << 20,
        zstd_allowed: flags & 2 == 0,
        keys_required: flags & 4 != 0,
        log_append_time: flags & 8 != 0,
        timestamp_before_max_ms: if flags & 16 != 0 { 1000 } else { i64::MAX },
        timestamp_after_max_ms: if flags & 16 != 0 { 1000 } else { i64::MAX },
        decompressed_max_bytes: UNPACKED_MAX,
        compression: None,
    };
    let mut accepted = None;
    let held = most_held(|| {
        accepted = batch::check(BytesMut::from(&data[..]), &rules, NOW).ok();
    });
    // The buffers of the decompressors: an old LZ4 frame has blocks of 8 MiB, and takes two of them.
    let limit = 64 * data.len() + (32 << 20);
    assert!(held <= limit, "{held} bytes held for {}", data.len());
    let Some(mut accepted) = accepted else { return };
    assert_eq!(accepted.bytes.len(), accepted.header.size_bytes);
    let mut records = 0;
    batch::records(&accepted.bytes, UNPACKED_MAX, |record| {
        assert_eq!(record.offset_delta, records);
        records += 1;
        ControlFlow::Continue(())
    })
    .expect("an accepted batch parses");
    assert_eq!(records, accepted.header.record_count);
    accepted.stamp(0, LeaderEpoch(7));
    let stored = Rules {
        log_append_time: accepted.header.is_log_append_time(),
        ..rules
    };
    batch::check(accepted.bytes, &stored, NOW).expect("a stored batch is valid");
});

/// Writes the length and the CRC that the bytes should have.
fn seal(data: &mut [u8]) {
    if data.len() >= HEADER_BYTES {
        let len = data.len() as i32 - 12;
        data[8..12].copy_from_slice(&len.to_be_bytes());
        let crc = crc32c::crc32c(&data[21..]);
        data[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}
