//! Messages to subscribers.

use crate::model::reply::Reply;
use crate::net::connection::Connection;
use crate::net::connections::Connections;
use crate::pubsub::message::Message;
use crate::pubsub::registry::{Delivery, SubscriberId};
use crate::push::push::Push;
use crate::session::pending::Publication;

impl Push {
    /// Sends the message to every subscriber; the reply is their number. Messages for the publisher itself
    /// wait until its reply is written.
    pub fn publish(
        &self,
        connections: &Connections,
        publisher: &Connection,
        publication: &Publication,
    ) -> Reply {
        let registry = self.registry.borrow();
        let (channel, payload) = (&publication.channel[..], &publication.message[..]);
        let mut reached = 0;
        if publication.sharded {
            let mut message = Message::sharded(channel, payload);
            for subscriber in registry.publish_shard(channel) {
                let delivery = Delivery::Message;
                reached += send(connections, Some(publisher), *subscriber, delivery, &mut message);
            }
        } else {
            let mut message = Message::new(channel, payload);
            registry.publish(channel).for_each(|(subscriber, delivery)| {
                reached += send(connections, Some(publisher), subscriber, delivery, &mut message);
            });
        }
        Reply::Integer(reached)
    }

    /// Publishes a message of the server. `origin`: the client whose request caused it.
    pub fn send_to_subscribers(
        &self,
        connections: &Connections,
        origin: Option<&Connection>,
        channel: &[u8],
        payload: &[u8],
    ) {
        let registry = self.registry.borrow();
        let mut message = Message::new(channel, payload);
        for (subscriber, delivery) in registry.publish(channel) {
            send(connections, origin, subscriber, delivery, &mut message);
        }
    }
}

/// Returns 1, or 0 for a subscriber that is closing.
fn send(
    connections: &Connections,
    origin: Option<&Connection>,
    subscriber: SubscriberId,
    delivery: Delivery<'_>,
    message: &mut Message<'_>,
) -> i64 {
    let all = connections.all();
    let Some(connection) = all.get(&subscriber.0).filter(|it| !it.is_closing()) else { return 0 };
    let frame = message.frame(connection.session.borrow().protocol, delivery);
    if origin.is_some_and(|origin| origin.id == connection.id) {
        connection.defer_own(frame);
        return 1;
    }
    connection.push_shared(frame);
    connections.cut_off_if_over_limit(connection, true);
    connections.queue_flush(connection);
    1
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn a_message_to_oneself_comes_behind_the_reply() {
        let ann = Stage::new().client();
        ann.ask("HELLO 3\nSUBSCRIBE news");
        assert_eq!(ann.ask("PUBLISH news a\nPING"), ":1 >3 $7 message $4 news $1 a +PONG");
    }

    #[test]
    fn each_subscription_gets_the_message_and_counts() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("SUBSCRIBE news\nPSUBSCRIBE n*");
        assert_eq!(bob.ask("PUBLISH news a\nSPUBLISH news a"), ":2 :0");
        assert_eq!(ann.told(), "*3 $7 message $4 news $1 a *4 $8 pmessage $2 n* $4 news $1 a");
    }

    #[test]
    fn a_subscriber_that_is_closing_is_not_reached() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("SUBSCRIBE news");
        ann.connection.close_after_replies();
        let publication = |channel: &'static [u8]| crate::session::pending::Publication {
            channel: channel.into(),
            message: b"a"[..].into(),
            sharded: false,
        };
        let (push, connections) = (&stage.frontend.push, &stage.frontend.connections);
        let reached = push.publish(connections, &bob.connection, &publication(b"news"));
        assert_eq!(reached, crate::model::reply::Reply::Integer(0));
        assert_eq!(ann.connection.output_bytes(), 0);
    }
}
