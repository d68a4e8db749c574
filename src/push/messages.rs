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
