//! SUBSCRIBE, PUBLISH, PUBSUB: the registry meets the connections.
//!
//! A message goes out after everything that its publisher sent before it was applied; a publisher that
//! receives its own message gets its reply first (Redis 8.0, RESP3; in a transaction: after the whole EXEC).

use crate::command::value::PubSubCommand;
use crate::engine::submission::Work;
use crate::frontend::frontend::Frontend;
use crate::frontend::response::{Response, Why};
use crate::model::args::ArgList;
use crate::model::reply::Reply;
use crate::net::connection::Connection;
use crate::pubsub::message;
use crate::pubsub::registry::{Kind, Registry, SubscriberId};
use crate::resp::writer;
use crate::session::pending::{Completion, Pending, Publication};
use bytes::Bytes;
use std::rc::Rc;

pub fn execute(
    frontend: &Frontend,
    connection: &Rc<Connection>,
    command: &PubSubCommand<'_>,
) -> Response<'static> {
    match command {
        // The writes that it must not overtake may be in flight in several partitions.
        PubSubCommand::Publish { .. } | PubSubCommand::ShardPublish { .. }
            if frontend.router.partitions() > 1 && !connection.is_drained() =>
        {
            Response::Hold(Why::NotDrained)
        }
        PubSubCommand::Publish { channel, message } => {
            publish(frontend, connection, publication(channel, message, false))
        }
        PubSubCommand::ShardPublish { channel, message } => {
            publish(frontend, connection, publication(channel, message, true))
        }
        // Confirmations are not replies, so they must not pass earlier replies.
        _ if is_subscription(command) && !connection.is_drained() => Response::Hold(Why::NotDrained),
        _ if is_subscription(command) => {
            Response::Pushes(change_subscriptions(frontend, connection, command))
        }
        _ => query(frontend, command).into(),
    }
}

/// The reply inside EXEC. A subscription to several channels has one confirmation as its reply and the others
/// behind the EXEC, since an array of replies has one element per command.
pub fn reply_inside_exec(
    frontend: &Frontend,
    connection: &Rc<Connection>,
    command: &PubSubCommand<'_>,
) -> Reply {
    match command {
        PubSubCommand::Publish { channel, message } => {
            frontend.push.publish(&frontend.connections, connection, &publication(channel, message, false))
        }
        PubSubCommand::ShardPublish { channel, message } => {
            frontend.push.publish(&frontend.connections, connection, &publication(channel, message, true))
        }
        // Redis 8.0 `ssubscribeCommand`: unlike the other subscriptions, shard channels are not allowed in
        // MULTI.
        PubSubCommand::ShardSubscribe { .. } => {
            Reply::error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
        }
        _ if is_subscription(command) => {
            let mut confirmations = change_subscriptions(frontend, connection, command).into_iter();
            let first = confirmations.next().unwrap_or(Reply::NilArray);
            let protocol = connection.session.borrow().protocol;
            for later in confirmations {
                let mut frame = Vec::new();
                writer::write(&mut frame, protocol, &later);
                connection.defer_own(&frame.into());
            }
            first
        }
        _ => query(frontend, command),
    }
}

fn publish(frontend: &Frontend, connection: &Connection, publication: Publication) -> Response<'static> {
    if connection.is_drained() {
        return frontend.push.publish(&frontend.connections, connection, &publication).into();
    }
    let work = Work::Pass { partition: connection.activity.last_partition.get() };
    let outcome = frontend.port.submit(connection.next_request(), work);
    assert!(outcome.is_none(), "what is behind something waits for it");
    let then = Completion::Publish(Box::new(publication));
    Response::Pending(connection.open_slot(Pending::with(then)))
}

fn query(frontend: &Frontend, command: &PubSubCommand<'_>) -> Reply {
    let registry = frontend.push.registry.borrow();
    let names = |names: Vec<Bytes>| Reply::Array(names.into_iter().map(Reply::Bulk).collect());
    let numbers = |channels: &ArgList<'_>, kind| {
        let pairs = channels
            .iter()
            .flat_map(|channel| [Reply::bulk(channel), Reply::count(registry.subscribers_of(kind, channel))]);
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

/// Subscribes or unsubscribes, with one confirmation per channel.
fn change_subscriptions(
    frontend: &Frontend,
    connection: &Rc<Connection>,
    command: &PubSubCommand<'_>,
) -> Vec<Reply> {
    use Kind::{Channel, Pattern, Shard};
    if !frontend.connections.contains(connection.id) {
        // The connection was closed while its EXEC was in flight, so no later event would end the
        // subscription.
        return Vec::new();
    }
    let confirmations = match command {
        PubSubCommand::Subscribe { channels } => subscribe(frontend, connection, Channel, channels),
        PubSubCommand::PatternSubscribe { patterns } => subscribe(frontend, connection, Pattern, patterns),
        PubSubCommand::ShardSubscribe { channels } => subscribe(frontend, connection, Shard, channels),
        PubSubCommand::Unsubscribe { channels } => unsubscribe(frontend, connection, Channel, channels),
        PubSubCommand::PatternUnsubscribe { patterns } => {
            unsubscribe(frontend, connection, Pattern, patterns)
        }
        PubSubCommand::ShardUnsubscribe { channels } => unsubscribe(frontend, connection, Shard, channels),
        other => unreachable!("{other:?} changes no subscription"),
    };
    connection.session.borrow_mut().subscriptions =
        count_all(&frontend.push.registry.borrow(), connection.subscriber());
    confirmations
}

fn subscribe(frontend: &Frontend, connection: &Connection, kind: Kind, names: &ArgList<'_>) -> Vec<Reply> {
    let subscriber = connection.subscriber();
    let mut registry = frontend.push.registry.borrow_mut();
    names
        .iter()
        .map(|name| {
            registry.subscribe(subscriber, kind, name);
            message::subscribed(kind, name, count(&registry, subscriber, kind))
        })
        .collect()
}

/// Unsubscribes from the given names, or from everything of the kind.
fn unsubscribe(frontend: &Frontend, connection: &Connection, kind: Kind, names: &ArgList<'_>) -> Vec<Reply> {
    let subscriber = connection.subscriber();
    let mut registry = frontend.push.registry.borrow_mut();
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

fn publication(channel: &[u8], message: &[u8], sharded: bool) -> Publication {
    Publication {
        channel: Bytes::copy_from_slice(channel),
        message: Bytes::copy_from_slice(message),
        sharded,
    }
}

/// The count in a confirmation: channels and patterns together, shard channels separately.
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

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn a_confirmation_does_not_pass_the_reply_before_it() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.send("SET a 1\nSUBSCRIBE news");
        assert_eq!(ann.told(), "");
        stage.commit();
        assert_eq!(ann.told(), "+OK *3 $9 subscribe $4 news :1");
    }

    #[test]
    fn channels_and_patterns_count_together_and_shard_channels_apart() {
        let ann = Stage::new().client();
        ann.ask("HELLO 3\nSUBSCRIBE a\nPSUBSCRIBE b*\nSSUBSCRIBE c");
        assert_eq!(ann.ask("SUBSCRIBE a d"), ">3 $9 subscribe $1 a :2 >3 $9 subscribe $1 d :3");
        assert_eq!(ann.ask("SUNSUBSCRIBE"), ">3 $12 sunsubscribe $1 c :0");
        assert_eq!(ann.ask("SUNSUBSCRIBE"), ">3 $12 sunsubscribe _ :0", "there is always a confirmation");
        assert_eq!(ann.connection.session.borrow().subscriptions, 3);
    }

    #[test]
    fn in_a_transaction_each_subscription_has_one_place() {
        let ann = Stage::new().client();
        let told = ann.ask("MULTI\nSUBSCRIBE a b\nPING\nEXEC");
        let (first, second) = ("*3 $9 subscribe $1 a :1", "*3 $9 subscribe $1 b :2");
        assert!(told.ends_with(&format!("*2 {first} *2 $4 pong $0  {second}")), "{told}");
        ann.ask("RESET");
        assert!(ann.ask("MULTI\nSSUBSCRIBE a\nEXEC").contains("*1 -ERR SSUBSCRIBE isn't allowed"));
    }

    #[test]
    fn with_several_partitions_a_message_waits_for_all_writes_before_it() {
        let stage = Stage::with(|config| config.partitions = 4);
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("SUBSCRIBE news");
        let [first, last] = ["a", "b"].map(|key| stage.frontend.router.of_key(key.as_bytes()));
        assert_ne!(first, last);
        ann.send("SET a 1\nSET b 1\nPUBLISH news x");
        stage.script().commit(last, 1);
        assert_eq!((ann.told(), bob.told()), (String::new(), String::new()), "a is in flight");
        stage.commit();
        assert_eq!((ann.told(), bob.told().is_empty()), ("+OK +OK :1".to_owned(), false));
    }
}
