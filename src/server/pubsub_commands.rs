//! SUBSCRIBE, PUBLISH, PUBSUB: the registry meets the connections.
//!
//! A message goes out after everything that its publisher sent before it was applied, and a publisher that listens to
//! itself gets its reply first (Redis 8.0, RESP3; in a transaction: after the whole EXEC).

use crate::command::value::PubSubCommand;
use crate::model::args::ArgList;
use crate::model::reply::Reply;
use crate::pubsub::message::{self, Message};
use crate::pubsub::registry::{Delivery, Kind, Registry, SubscriberId};
use crate::resp::writer;
use crate::server::connection::Connection;
use crate::server::dispatch::Flow;
use crate::server::ticket::{Place, Publication, Ticket};
use crate::server::worker::Worker;
use bytes::Bytes;
use std::rc::Rc;

impl Worker {
    pub fn execute_pubsub(&self, connection: &Rc<Connection>, command: &PubSubCommand<'_>) -> Flow {
        match command {
            // What it must not overtake may be on its way through several partitions.
            PubSubCommand::Publish { .. } | PubSubCommand::ShardPublish { .. }
                if self.router.partitions() > 1 && !connection.is_settled() =>
            {
                return Flow::HoldUntilSettled;
            }
            PubSubCommand::Publish { channel, message } => self.publish(connection, channel, message, false),
            PubSubCommand::ShardPublish { channel, message } => {
                self.publish(connection, channel, message, true)
            }
            // Confirmations are no replies: they must not pass the replies before them.
            _ if is_subscription(command) && !connection.is_settled() => return Flow::HoldUntilSettled,
            _ if is_subscription(command) => {
                for confirmation in self.change_subscriptions(connection, command) {
                    connection.push_reply(&confirmation);
                }
            }
            _ => {
                let reply = self.pubsub_query(command);
                connection.reply(&reply);
            }
        }
        Flow::Next
    }

    /// The reply inside EXEC. A subscription to several channels has one confirmation in the reply's place and the
    /// others behind the EXEC, since an array of replies has one element per command.
    pub fn pubsub_reply(&self, connection: &Rc<Connection>, command: &PubSubCommand<'_>) -> Reply {
        match command {
            PubSubCommand::Publish { channel, message } => {
                self.deliver(connection, &publication(channel, message, false))
            }
            PubSubCommand::ShardPublish { channel, message } => {
                self.deliver(connection, &publication(channel, message, true))
            }
            // Redis 8.0 `ssubscribeCommand`: shard channels are no exception for MULTI, as the others are.
            PubSubCommand::ShardSubscribe { .. } => {
                Reply::error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
            }
            _ if is_subscription(command) => {
                let mut confirmations = self.change_subscriptions(connection, command).into_iter();
                let first = confirmations.next().unwrap_or(Reply::NilArray);
                let protocol = connection.session.borrow().protocol;
                for later in confirmations {
                    let mut frame = Vec::new();
                    writer::write(&mut frame, protocol, &later);
                    connection.defer_own(&frame.into());
                }
                first
            }
            _ => self.pubsub_query(command),
        }
    }

    fn publish(&self, connection: &Rc<Connection>, channel: &[u8], message: &[u8], sharded: bool) {
        let publication = publication(channel, message, sharded);
        if connection.is_settled() {
            let reply = self.deliver(connection, &publication);
            connection.reply(&reply);
            connection.send_deferred();
        } else {
            let ticket = Ticket::Publish { place: Place::open(connection), message: Box::new(publication) };
            self.partition(connection.last_partition.get()).borrow_mut().pass(ticket);
            self.request_round();
        }
    }

    /// What was before the message in its connection was applied.
    pub fn publish_at(&self, place: &Place, publication: &Publication, reply: Reply) {
        let reply = match reply {
            Reply::Error(_) => reply,
            _ => self.deliver(&place.connection, publication),
        };
        self.answer(place, &reply);
    }

    /// Hands the message to every subscriber; the number of them is the reply. The publisher's own messages are kept
    /// until its reply is written.
    fn deliver(&self, publisher: &Connection, publication: &Publication) -> Reply {
        let registry = self.pubsub.borrow();
        let (channel, payload) = (&publication.channel[..], &publication.message[..]);
        let mut reached = 0;
        if publication.sharded {
            let mut message = Message::sharded(channel, payload);
            for subscriber in registry.publish_shard(channel) {
                reached += self.send_message(Some(publisher), *subscriber, Delivery::Message, &mut message);
            }
        } else {
            let mut message = Message::new(channel, payload);
            registry.publish(channel).for_each(|(subscriber, delivery)| {
                reached += self.send_message(Some(publisher), subscriber, delivery, &mut message);
            });
        }
        Reply::Integer(reached)
    }

    /// Returns 1, or 0 for a subscriber that is on its way out.
    pub fn send_message(
        &self,
        publisher: Option<&Connection>,
        subscriber: SubscriberId,
        delivery: Delivery<'_>,
        message: &mut Message<'_>,
    ) -> i64 {
        let connections = self.connections();
        let Some(connection) = connections.get(&subscriber.0).filter(|it| !it.is_closing()) else { return 0 };
        let frame = message.frame(connection.session.borrow().protocol, delivery);
        if publisher.is_some_and(|publisher| publisher.id == connection.id) {
            connection.defer_own(frame);
            return 1;
        }
        connection.push_shared(frame);
        if self.is_over_output_limit(connection, true) {
            self.cut_off(connection);
        }
        self.queue_flush(connection);
        1
    }

    fn pubsub_query(&self, command: &PubSubCommand<'_>) -> Reply {
        let registry = self.pubsub.borrow();
        let names = |names: Vec<Bytes>| Reply::Array(names.into_iter().map(Reply::Bulk).collect());
        let numbers = |channels: &ArgList<'_>, kind| {
            let pairs = channels.iter().flat_map(|channel| {
                [Reply::bulk(channel), Reply::count(registry.subscribers_of(kind, channel))]
            });
            Reply::Array(pairs.collect())
        };
        match command {
            PubSubCommand::Channels { pattern } => names(registry.channels(Kind::Channel, *pattern)),
            PubSubCommand::ShardChannels { pattern } => names(registry.channels(Kind::Shard, *pattern)),
            PubSubCommand::NumSub { channels } => numbers(channels, Kind::Channel),
            PubSubCommand::ShardNumSub { channels } => numbers(channels, Kind::Shard),
            PubSubCommand::NumPat => Reply::count(registry.total(Kind::Pattern)),
            other => unreachable!("{other:?} is no query"),
        }
    }

    /// Subscribes or unsubscribes, and says so once per channel.
    fn change_subscriptions(&self, connection: &Rc<Connection>, command: &PubSubCommand<'_>) -> Vec<Reply> {
        use Kind::{Channel, Pattern, Shard};
        if !self.connections().contains_key(&connection.id) {
            // It was closed while its EXEC was on its way: nobody would end the subscription.
            return Vec::new();
        }
        let confirmations = match command {
            PubSubCommand::Subscribe { channels } => self.subscribe(connection, Channel, channels),
            PubSubCommand::PatternSubscribe { patterns } => self.subscribe(connection, Pattern, patterns),
            PubSubCommand::ShardSubscribe { channels } => self.subscribe(connection, Shard, channels),
            PubSubCommand::Unsubscribe { channels } => self.unsubscribe(connection, Channel, channels),
            PubSubCommand::PatternUnsubscribe { patterns } => self.unsubscribe(connection, Pattern, patterns),
            PubSubCommand::ShardUnsubscribe { channels } => self.unsubscribe(connection, Shard, channels),
            other => unreachable!("{other:?} changes no subscription"),
        };
        connection.session.borrow_mut().subscriptions =
            count_all(&self.pubsub.borrow(), connection.subscriber());
        confirmations
    }

    fn subscribe(&self, connection: &Connection, kind: Kind, names: &ArgList<'_>) -> Vec<Reply> {
        let subscriber = connection.subscriber();
        let mut registry = self.pubsub.borrow_mut();
        names
            .iter()
            .map(|name| {
                registry.subscribe(subscriber, kind, name);
                message::subscribed(kind, name, count(&registry, subscriber, kind))
            })
            .collect()
    }

    /// From the names given, or from everything of the kind.
    fn unsubscribe(&self, connection: &Connection, kind: Kind, names: &ArgList<'_>) -> Vec<Reply> {
        let subscriber = connection.subscriber();
        let mut registry = self.pubsub.borrow_mut();
        let all;
        let names: Box<dyn Iterator<Item = &[u8]>> = if names.is_empty() {
            all = registry.names(subscriber, kind);
            if all.is_empty() {
                return vec![message::unsubscribed(kind, None, count(&registry, subscriber, kind))];
            }
            Box::new(all.iter().map(|name| &name[..]))
        } else {
            Box::new(names.iter())
        };
        names
            .map(|name| {
                registry.unsubscribe(subscriber, kind, name);
                message::unsubscribed(kind, Some(name), count(&registry, subscriber, kind))
            })
            .collect()
    }
}

fn publication(channel: &[u8], message: &[u8], sharded: bool) -> Publication {
    Publication {
        channel: Bytes::copy_from_slice(channel),
        message: Bytes::copy_from_slice(message),
        sharded,
    }
}

/// The number that a confirmation tells: channels and patterns are counted together, shard channels apart.
fn count(registry: &Registry, subscriber: SubscriberId, kind: Kind) -> usize {
    match kind {
        Kind::Channel | Kind::Pattern => registry.count_plain(subscriber),
        Kind::Shard => registry.count(subscriber, Kind::Shard),
    }
}

fn count_all(registry: &Registry, subscriber: SubscriberId) -> usize {
    registry.count_plain(subscriber) + registry.count(subscriber, Kind::Shard)
}

fn is_subscription(command: &PubSubCommand<'_>) -> bool {
    matches!(
        command,
        PubSubCommand::Subscribe { .. }
            | PubSubCommand::PatternSubscribe { .. }
            | PubSubCommand::ShardSubscribe { .. }
            | PubSubCommand::Unsubscribe { .. }
            | PubSubCommand::PatternUnsubscribe { .. }
            | PubSubCommand::ShardUnsubscribe { .. }
    )
}
