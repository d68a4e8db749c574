//! redis-rs, a client of real programs, over RESP2 and RESP3.

use crate::support::server::Server;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamInfoConsumersReply, StreamInfoGroupsReply,
    StreamInfoStreamReply, StreamMaxlen, StreamPendingCountReply, StreamPendingReply, StreamRangeReply,
    StreamReadOptions, StreamReadReply,
};
use redis::{Commands, Connection, Value, cmd, pipe};
use std::time::Duration;

const PROTOCOLS: [&str; 2] = ["resp2", "resp3"];

fn connect(server: &Server, protocol: &str) -> Connection {
    let client =
        redis::Client::open(format!("redis://{}/?protocol={protocol}", server.address())).expect("a client");
    client.get_connection().expect("a connection")
}

#[test]
fn streams() {
    let server = Server::start();
    for protocol in PROTOCOLS {
        let mut redis = connect(&server, protocol);
        let _: () = cmd("FLUSHALL").query(&mut redis).unwrap();
        let id: String = redis.xadd("s", "1-1", &[("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(id, "1-1");
        let automatic: String = redis.xadd("s", "*", &[("a", "3")]).unwrap();
        assert!(automatic > id);
        let _: String = redis.xadd_maxlen("s", StreamMaxlen::Equals(2), "*", &[("a", "4")]).unwrap();
        assert_eq!(redis.xlen::<_, usize>("s").unwrap(), 2);
        let range: StreamRangeReply = redis.xrange_all("s").unwrap();
        assert_eq!(range.ids[0].id, automatic);
        assert_eq!(range.ids[0].get::<String>("a").as_deref(), Some("3"));
        let newest: StreamRangeReply = redis.xrevrange_count("s", "+", "-", 1).unwrap();
        assert_eq!(newest.ids[0].get::<i64>("a"), Some(4));
        let read: StreamReadReply = redis.xread(&["s"], &["0"]).unwrap();
        assert_eq!(read.keys[0].key, "s");
        assert_eq!(read.keys[0].ids.len(), 2);
        let info: StreamInfoStreamReply = redis.xinfo_stream("s").unwrap();
        assert_eq!(info.length, 2);
        assert_eq!(redis.xdel::<_, _, usize>("s", &[&automatic]).unwrap(), 1);
        assert_eq!(redis.xtrim::<_, usize>("s", StreamMaxlen::Equals(0)).unwrap(), 1);
    }
}

#[test]
fn groups() {
    let server = Server::start();
    for protocol in PROTOCOLS {
        let mut redis = connect(&server, protocol);
        let _: () = cmd("FLUSHALL").query(&mut redis).unwrap();
        let _: () = redis.xgroup_create_mkstream("s", "g", "$").unwrap();
        let again = redis.xgroup_create_mkstream::<_, _, _, ()>("s", "g", "$").unwrap_err();
        assert_eq!(again.code(), Some("BUSYGROUP"));
        let ids: Vec<String> = (0..5).map(|at| redis.xadd("s", "*", &[("n", at)]).unwrap()).collect();
        let options = StreamReadOptions::default().group("g", "c").count(3);
        let read: StreamReadReply = redis.xread_options(&["s"], &[">"], &options).unwrap();
        assert_eq!(read.keys[0].ids.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>(), ids[..3]);
        assert_eq!(redis.xack::<_, _, _, usize>("s", "g", &[&ids[0]]).unwrap(), 1);
        let StreamPendingReply::Data(pending) = redis.xpending("s", "g").unwrap() else {
            panic!("nothing pending")
        };
        assert_eq!(
            (pending.count, pending.consumers[0].name.as_str(), pending.consumers[0].pending),
            (2, "c", 2)
        );
        let rows: StreamPendingCountReply = redis.xpending_count("s", "g", "-", "+", 10).unwrap();
        assert_eq!(rows.ids[0].id, ids[1]);
        assert_eq!(rows.ids[0].times_delivered, 1);
        let claimed: StreamAutoClaimReply = redis
            .xautoclaim_options("s", "g", "other", 0, "0-0", StreamAutoClaimOptions::default().count(1))
            .unwrap();
        assert_eq!(claimed.claimed[0].id, ids[1]);
        let consumers: StreamInfoConsumersReply = redis.xinfo_consumers("s", "g").unwrap();
        assert_eq!(consumers.consumers.len(), 2);
        let groups: StreamInfoGroupsReply = redis.xinfo_groups("s").unwrap();
        assert_eq!(groups.groups[0].last_delivered_id, ids[2]);
        assert_eq!(redis.xgroup_destroy::<_, _, usize>("s", "g").unwrap(), 1);
    }
}

#[test]
fn a_blocked_reader_is_woken() {
    let server = Server::start();
    for protocol in PROTOCOLS {
        let key = format!("wait-{protocol}");
        let mut reader = connect(&server, protocol);
        let waiting = key.clone();
        let thread = std::thread::spawn(move || {
            // From 0, so that the order of arrival does not matter.
            let options = StreamReadOptions::default().block(20_000);
            let read: StreamReadReply = reader.xread_options(&[&waiting], &["0"], &options).unwrap();
            read.keys[0].ids[0].get::<String>("a")
        });
        let mut writer = connect(&server, protocol);
        let _: String = writer.xadd(&key, "*", &[("a", "woken")]).unwrap();
        assert_eq!(thread.join().unwrap().as_deref(), Some("woken"));
        let options = StreamReadOptions::default().block(5);
        let nothing: StreamReadReply = writer.xread_options(&[&key], &["$"], &options).unwrap();
        assert!(nothing.keys.is_empty());
    }
}

#[test]
fn publish_and_subscribe() {
    let server = Server::start();
    for protocol in PROTOCOLS {
        let mut subscriber = connect(&server, protocol);
        let mut publisher = connect(&server, protocol);
        let mut subscription = subscriber.as_pubsub();
        subscription.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        subscription.subscribe("news").unwrap();
        subscription.psubscribe("n*").unwrap();
        assert_eq!(publisher.publish::<_, _, i64>("news", "hello").unwrap(), 2);
        let first = subscription.get_message().unwrap();
        assert_eq!(
            (first.get_channel_name(), first.get_payload::<String>().unwrap().as_str()),
            ("news", "hello")
        );
        let second = subscription.get_message().unwrap();
        assert_eq!(second.get_pattern::<String>().unwrap(), "n*");
        subscription.unsubscribe("news").unwrap();
        subscription.punsubscribe("n*").unwrap();
        assert_eq!(publisher.publish::<_, _, i64>("news", "nobody").unwrap(), 0);
    }
}

#[test]
fn transactions() {
    let server = Server::start();
    for protocol in PROTOCOLS {
        let mut redis = connect(&server, protocol);
        let _: () = cmd("FLUSHALL").query(&mut redis).unwrap();
        let (count, id): (i64, String) = pipe()
            .atomic()
            .cmd("INCR")
            .arg("{n}")
            .cmd("XADD")
            .arg("{n}s")
            .arg("1-1")
            .arg("a")
            .arg(1)
            .query(&mut redis)
            .unwrap();
        assert_eq!((count, id.as_str()), (1, "1-1"));
        let _: () = cmd("WATCH").arg("{n}").query(&mut redis).unwrap();
        let _: i64 = connect(&server, protocol).incr("{n}", 1).unwrap();
        let lost: Value = pipe().atomic().set("{n}", 100).ignore().query(&mut redis).unwrap();
        assert_eq!(lost, Value::Nil);
        assert_eq!(redis.get::<_, i64>("{n}").unwrap(), 2);
    }
}

#[test]
fn values_and_expiry() {
    let server = Server::start();
    for protocol in PROTOCOLS {
        let mut redis = connect(&server, protocol);
        let _: () = redis.set_ex("k", "v", 100).unwrap();
        assert_eq!(redis.get::<_, String>("k").unwrap(), "v");
        assert!(redis.ttl::<_, i64>("k").unwrap() > 90);
        assert_eq!(redis.get::<_, Option<String>>("nokey").unwrap(), None);
        let _: () = redis.mset(&[("{m}a", 1), ("{m}b", 2)]).unwrap();
        assert_eq!(redis.mget::<_, Vec<i64>>(&["{m}a", "{m}b"]).unwrap(), [1, 2]);
        assert_eq!(redis.del::<_, usize>(&["{m}a", "{m}b"]).unwrap(), 2);
    }
}
