//! DescribeAcls (29), CreateAcls (30), DeleteAcls (31), without an authorizer.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
use protocol_tests::calls::text;
use protocol_tests::{Broker, codes};

/// 105. Without an authorizer there are no lists: error 54, for each entry and filter.
#[test]
fn without_an_authorizer_lists_are_disabled() {
    let broker = Broker::shared();
    let mut client = broker.connect();
    let described = client.call(
        3,
        &DescribeAclsRequest::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_operation(1)
            .with_permission_type(1),
    );
    assert_eq!(described.error_code, codes::SECURITY_DISABLED);
    assert!(described.resources.is_empty());
    let creation = AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_resource_pattern_type(3)
        .with_principal(text("User:ann"))
        .with_host(text("*"))
        .with_operation(3)
        .with_permission_type(3);
    let created = client.call(
        3,
        &CreateAclsRequest::default().with_creations(vec![creation.clone(), creation]),
    );
    let codes_of: Vec<i16> = created.results.iter().map(|one| one.error_code).collect();
    assert_eq!(codes_of, [codes::SECURITY_DISABLED; 2]);
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_pattern_type_filter(3)
        .with_operation(1)
        .with_permission_type(1);
    let deleted = client.call(3, &DeleteAclsRequest::default().with_filters(vec![filter]));
    assert_eq!(deleted.filter_results.len(), 1);
    assert_eq!(
        deleted.filter_results[0].error_code,
        codes::SECURITY_DISABLED
    );
    assert!(deleted.filter_results[0].matching_acls.is_empty());
}
