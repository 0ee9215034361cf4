//! SaslHandshake (17) and SaslAuthenticate (36) on a listener that asks nobody to authenticate.

use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use protocol_tests::calls::text;
use protocol_tests::{Broker, codes};

#[test]
fn there_is_nothing_to_authenticate() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    for version in 0..=1 {
        let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, codes::ILLEGAL_SASL_STATE);
        assert!(answer.mechanisms.is_empty());
    }
    for version in 0..=2 {
        let request = SaslAuthenticateRequest::default().with_auth_bytes("\0ann\0secret".into());
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, codes::ILLEGAL_SASL_STATE);
        assert!(answer.auth_bytes.is_empty());
        assert!(answer.error_message.is_some());
    }
    // And the connection goes on.
    client.metadata(&[]);
}
