use crate::node::testing::Stage;

#[test]
fn replies_of_a_pipeline_keep_their_order_while_a_write_is_in_flight() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.send("SET a 1\nPING\nGET a");
    assert_eq!(ann.told(), "", "the write is not committed");
    stage.commit();
    assert_eq!(ann.told(), "+OK +PONG $1 1");
}
