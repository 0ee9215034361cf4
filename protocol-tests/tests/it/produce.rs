//! Produce (0).

use protocol_tests::{Batch, Broker, Codec, unique};

/// Each codec's batch comes back byte for byte, its records as they were sent.
#[test]
fn every_codec_is_stored_and_read_back() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for codec in Codec::ALL {
        let topic = unique("produce-codec");
        client.create_topic(&topic, 1);
        let batch = Batch::counted(100).codec(codec);
        assert_eq!(client.produce(&topic, 0, &batch), 0);
        let read = client.read_text(&topic, 0);
        assert_eq!(read.len(), 100, "{codec:?}");
        assert_eq!(read[99], "99");
    }
}
