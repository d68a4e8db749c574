//! fred: what an application in Rust does with it.

use fred::prelude::*;
use fred::types::streams::XReadResponse;
use fred::types::{ClusterHash, CustomCommand, RespVersion};
use headwater_compat::{Outcome, check, holds, port, same, until};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

type Entries = XReadResponse<String, String, String, String>;

fn config() -> Config {
    let version = match std::env::var("PROTOCOL").as_deref() {
        Ok("3") => RespVersion::RESP3,
        _ => RespVersion::RESP2,
    };
    Config { server: ServerConfig::new_centralized("127.0.0.1", port()), version, ..Config::default() }
}

async fn connect(config: Config) -> Result<Client, Error> {
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_constant(0, 5));
    let client = builder.build()?;
    client.init().await?;
    Ok(client)
}

async fn custom<R: FromValue>(client: &Client, words: &[&str]) -> Result<R, Error> {
    let command = CustomCommand::new(words[0].to_string(), ClusterHash::FirstKey, false);
    let arguments: Vec<Value> = words[1..].iter().map(|word| Value::from(word.to_string())).collect();
    client.custom(command, arguments).await
}

fn ids(entries: &Entries, key: &str) -> Vec<String> {
    entries.get(key).map(|all| all.iter().map(|(id, _)| id.clone()).collect()).unwrap_or_default()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

async fn connecting(r: &Client) -> Outcome {
    let four = connect(Config { database: Some(4), ..config() }).await?;
    let _: () = four.set("where", "four", None, None, false).await?;
    same(r.get::<Option<String>, _>("where").await?, None)?;
    let info: String = r.info(None).await?;
    holds(info.contains("redis_version:"), "a version in INFO")?;
    four.quit().await?;
    Ok(())
}

async fn strings(r: &Client) -> Outcome {
    let set: Option<String> = r.set("k", "v", Some(Expiration::EX(100)), Some(SetOptions::NX), false).await?;
    same(set.as_deref(), Some("OK"))?;
    let again: Option<String> = r.set("k", "w", None, Some(SetOptions::NX), false).await?;
    same(again, None)?;
    holds(r.ttl::<i64, _>("k").await? > 95, "a time to live")?;
    same(r.incr_by::<i64, _>("n", 5).await?, 5)?;
    let _: () = r.mset(vec![("a", "1"), ("b", "2")]).await?;
    let values: Vec<Option<String>> = r.mget(vec!["a", "missing", "b"]).await?;
    same(values, vec![Some("1".into()), None, Some("2".into())])?;
    let error = r.incr::<i64, _>("k").await.expect_err("a word is no number");
    holds(error.details().contains("not an integer"), error.details())
}

async fn streams(r: &Client) -> Outcome {
    let id: String = r.xadd("s", false, None, "1-1", vec![("name", "ada")]).await?;
    same(id.as_str(), "1-1")?;
    let _: () = r
        .xadd("s", false, ("MAXLEN", "~", 1000), "2-1", vec![("name", "grace"), ("city", "arlington")])
        .await?;
    let nothing: Option<String> = r.xadd("missing", true, None, "*", vec![("a", "b")]).await?;
    same(nothing, None)?;
    let range: Vec<(String, HashMap<String, String>)> = r.xrange_values("s", "-", "+", None).await?;
    same(range.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), vec!["1-1", "2-1"])?;
    same(range[1].1.get("city").map(String::as_str), Some("arlington"))?;
    let read: Entries = r.xread_map(Some(10), None, vec!["s", "other"], vec!["1-1", "0"]).await?;
    same(ids(&read, "s"), texts(&["2-1"]))?;
    same(r.xdel::<i64, _, _>("s", vec!["1-1", "9-9"]).await?, 1)?;
    same(r.xlen::<i64, _>("s").await?, 1)?;
    same(r.xtrim::<i64, _, _>("s", ("MAXLEN", "=", 0)).await?, 1)
}

async fn groups(r: &Client) -> Outcome {
    let _: () = r.xgroup_create("work", "g", "$", true).await?;
    let again =
        r.xgroup_create::<(), _, _, _>("work", "g", "$", false).await.expect_err("the group is known");
    holds(again.details().contains("BUSYGROUP"), again.details())?;
    for n in 1..=3 {
        let _: () = r.xadd("work", false, None, format!("{n}-0"), vec![("n", n)]).await?;
    }
    let read: Entries = r.xreadgroup_map("g", "alice", Some(2), None, false, "work", ">").await?;
    same(ids(&read, "work"), texts(&["1-0", "2-0"]))?;
    same(r.xack::<i64, _, _, _>("work", "g", "1-0").await?, 1)?;
    let pending: Vec<(String, String, i64, i64)> = r.xpending("work", "g", ("-", "+", 10)).await?;
    same(
        pending.iter().map(|row| (row.0.as_str(), row.1.as_str(), row.3)).collect::<Vec<_>>(),
        vec![("2-0", "alice", 1)],
    )?;
    let claimed: Vec<(String, HashMap<String, String>)> =
        r.xclaim_values("work", "g", "bob", 0, "2-0", None, None, None, false, false).await?;
    same(claimed[0].0.as_str(), "2-0")?;
    let (cursor, claimed): (String, Vec<(String, HashMap<String, String>)>) =
        r.xautoclaim_values("work", "g", "carol", 0, "0-0", Some(10), false).await?;
    same((cursor.as_str(), claimed[0].0.as_str()), ("0-0", "2-0"))?;
    same(r.xgroup_destroy::<i64, _, _>("work", "g").await?, 1)
}

/// A consumer that blocks and a producer: a hundred jobs, each once and in order.
async fn jobs(r: &Client) -> Outcome {
    let _: () = r.xgroup_create("jobs", "g", "$", true).await?;
    let c = connect(config()).await?;
    let nothing: Entries =
        c.xread_map(None, Some(50), "jobs", "$").await.or_else(|error| match error.kind() {
            // Nil has no shape of entries.
            ErrorKind::Parse | ErrorKind::NotFound => Ok(Entries::new()),
            _ => Err(error),
        })?;
    same(ids(&nothing, "jobs"), vec![])?;
    let consumer = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            let read: Entries = c.xreadgroup_map("g", "c", Some(10), Some(5000), false, "jobs", ">").await?;
            for (id, fields) in &read["jobs"] {
                seen.push(fields["n"].parse::<u32>().unwrap_or(u32::MAX));
                let _: () = c.xack("jobs", "g", id.as_str()).await?;
            }
        }
        Ok::<_, Error>(seen)
    });
    until("the blocked reader", || async {
        custom::<String>(r, &["INFO", "clients"]).await.is_ok_and(|info| info.contains("blocked_clients:1"))
    })
    .await?;
    for n in 0..100 {
        let _: () = r.xadd("jobs", false, None, "*", vec![("n", n)]).await?;
    }
    same(consumer.await??, (0..100).collect())
}

async fn channels(r: &Client) -> Outcome {
    let mut builder = Builder::from_config(config());
    builder.set_policy(ReconnectPolicy::new_constant(0, 5));
    let subscriber = builder.build_subscriber_client()?;
    subscriber.init().await?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    subscriber.on_message(move |message| {
        let log = Arc::clone(&log);
        async move {
            let text = message.value.convert::<String>()?;
            log.lock().unwrap().push((format!("{:?}", message.kind), message.channel.to_string(), text));
            Ok::<_, Error>(())
        }
    });
    let _resubscribing = subscriber.manage_subscriptions();
    subscriber.subscribe("news").await?;
    subscriber.psubscribe("ne*").await?;
    subscriber.ssubscribe("shard").await?;
    same(r.publish::<i64, _, _>("news", "hello").await?, 2)?;
    same(r.spublish::<i64, _, _>("shard", "hi").await?, 1)?;
    until("three messages", || async { heard.lock().unwrap().len() == 3 }).await?;
    let expected = [("Message", "news", "hello"), ("PMessage", "news", "hello"), ("SMessage", "shard", "hi")];
    same(heard.lock().unwrap().clone(), expected.map(|(a, b, c)| (a.into(), b.into(), c.into())).to_vec())?;

    // The connection is cut; the subscriptions come back by themselves.
    same(custom::<i64>(r, &["CLIENT", "KILL", "TYPE", "pubsub"]).await?, 1)?;
    heard.lock().unwrap().clear();
    until("a message on a new connection", || async {
        let _ = r.publish::<i64, _, _>("news", "again").await;
        !heard.lock().unwrap().is_empty()
    })
    .await?;
    subscriber.unsubscribe_all().await?;
    subscriber.quit().await?;
    Ok(())
}

async fn transactions(r: &Client) -> Outcome {
    let transaction = r.multi();
    let _: () = transaction.set("{m}", 1, None, None, false).await?;
    let _: () = transaction.incr("{m}").await?;
    let _: () = transaction.xadd("{m}s", false, None, "1-1", vec![("a", "b")]).await?;
    same(transaction.exec::<(String, i64, String)>(true).await?, ("OK".into(), 2, "1-1".into()))?;
    let c = connect(config()).await?;
    c.watch("{m}").await?;
    let _: () = r.set("{m}", 50, None, None, false).await?;
    let transaction = c.multi();
    let _: () = transaction.set("{m}", 3, None, None, false).await?;
    holds(transaction.exec::<Value>(false).await?.is_null(), "the conflict is noticed")?;
    same(r.get::<i64, _>("{m}").await?, 50)
}

async fn pipelines(r: &Client) -> Outcome {
    let pipeline = r.pipeline();
    for _ in 0..1000 {
        let _: () = pipeline.incr("counter").await?;
    }
    same(pipeline.all::<Vec<i64>>().await?, (1..=1000).collect())?;
    let pool = Builder::from_config(config()).build_pool(4)?;
    pool.init().await?;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn({
                let pool = pool.clone();
                async move { pool.incr::<i64, _>("pooled").await }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    same(r.get::<i64, _>("pooled").await?, 100)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let r = connect(config()).await?;
    check("connect with database, INFO", connecting(&r)).await;
    check("strings, expiry, many keys", strings(&r)).await;
    check("streams", streams(&r)).await;
    check("a group from XGROUP CREATE to XGROUP DESTROY", groups(&r)).await;
    check("a consumer that blocks gets what a producer adds", jobs(&r)).await;
    check("channels, patterns, shard channels; they come back after CLIENT KILL", channels(&r)).await;
    check("MULTI and EXEC, WATCH with a conflict", transactions(&r)).await;
    check("a pipeline of a thousand, a pool of four connections", pipelines(&r)).await;
    r.quit().await?;
    println!("done");
    Ok(())
}
