//! A request as it comes from the wire: prefix, header, guard, decoder.
//!
//! The first byte is the API key, the second its version, the rest what follows the correlation id.
//! Nothing may panic, abort or hang, and decoding may hold no more than the guard promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trestle::api::guard::held_limit;
use trestle_fuzz::{Counting, most_held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|data: &[u8]| {
    let [key, version, rest @ ..] = data else {
        return;
    };
    let mut frame = Vec::with_capacity(12 + rest.len());
    frame.extend((8 + rest.len() as i32).to_be_bytes());
    frame.extend(i16::from(*key as i8).to_be_bytes());
    frame.extend(i16::from(*version as i8).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(rest);
    let held = most_held(|| {
        trestle::net::probe(&frame);
    });
    let limit = held_limit(frame.len());
    assert!(held <= limit, "{held} bytes held, {limit} promised");
});
