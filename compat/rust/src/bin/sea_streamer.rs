//! SeaStreamer over its Redis backend: producers and consumers of streams that do not speak of XADD and XREADGROUP.

use headwater_compat::{Outcome, check, port, same};
use sea_streamer_redis::{
    AutoCommit, AutoStreamReset, RedisConsumer, RedisConsumerOptions, RedisProducer, RedisProducerOptions,
    RedisStreamer, RoundRobinSharder,
};
use sea_streamer_types::{
    Buffer, Consumer, ConsumerGroup, ConsumerMode, ConsumerOptions, Message, Producer, SeqPos, StreamKey,
    Streamer,
};
use std::collections::BTreeSet;
use std::time::Duration;

async fn streamer() -> Result<RedisStreamer, Box<dyn std::error::Error + Send + Sync>> {
    Ok(RedisStreamer::connect(format!("redis://127.0.0.1:{}", port()).parse()?, Default::default()).await?)
}

async fn send(producer: &mut RedisProducer, numbers: std::ops::Range<u32>) -> Outcome {
    for n in numbers {
        producer.send(n.to_string())?;
    }
    producer.flush().await?;
    Ok(())
}

async fn take(
    consumer: &RedisConsumer,
    count: usize,
) -> Result<Vec<u32>, Box<dyn std::error::Error + Send + Sync>> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let message = tokio::time::timeout(Duration::from_secs(10), consumer.next()).await??;
        numbers.push(message.message().as_str()?.parse()?);
    }
    Ok(numbers)
}

/// Every consumer gets everything, and goes back to what it has already had.
async fn real_time() -> Outcome {
    let streamer = streamer().await?;
    let key = StreamKey::new("ticks")?;
    let mut producer = streamer.create_producer(key.clone(), Default::default()).await?;
    send(&mut producer, 0..50).await?;
    let mut options = RedisConsumerOptions::new(ConsumerMode::RealTime);
    options.set_auto_stream_reset(AutoStreamReset::Earliest);
    let mut one = streamer.create_consumer(&[key.clone()], options.clone()).await?;
    let two = streamer.create_consumer(&[key], options).await?;
    send(&mut producer, 50..100).await?;
    same(take(&one, 100).await?, (0..100).collect())?;
    same(take(&two, 100).await?, (0..100).collect())?;
    one.rewind(SeqPos::Beginning).await?;
    same(take(&one, 10).await?, (0..10).collect())
}

/// Two consumers share a group; what one leaves behind the other one claims.
async fn load_balanced() -> Outcome {
    let streamer = streamer().await?;
    let key = StreamKey::new("orders")?;
    let mut producer = streamer.create_producer(key.clone(), Default::default()).await?;
    let mut options = RedisConsumerOptions::new(ConsumerMode::LoadBalanced);
    options.set_consumer_group(ConsumerGroup::new("workers"))?;
    options.set_auto_stream_reset(AutoStreamReset::Earliest);
    options.set_auto_commit(AutoCommit::Disabled);
    options.set_auto_commit_interval(Duration::ZERO);
    options.set_auto_claim_idle(Duration::from_millis(500));
    options.set_auto_claim_interval(Some(Duration::from_millis(500)));
    options.set_batch_size(1);
    let alpha = streamer.create_consumer(&[key.clone()], options.clone()).await?;
    send(&mut producer, 0..5).await?;
    same(take(&alpha, 5).await?, (0..5).collect())?;
    // It goes without having acknowledged anything.
    alpha.end().await?;
    let mut beta = streamer.create_consumer(&[key], options).await?;
    // It looks for what others left between two reads of new messages, and one read may wait for ten seconds: so the producer goes on.
    let mut seen = BTreeSet::new();
    let mut next = 5;
    while !seen.is_superset(&(0..10).collect()) {
        if next > 100 {
            return Err(format!("after {next} messages it had only {seen:?}").into());
        }
        send(&mut producer, next..next + 1).await?;
        next += 1;
        while let Ok(message) = tokio::time::timeout(Duration::from_millis(100), beta.next()).await {
            let message = message?;
            beta.ack(&message)?;
            seen.insert(message.message().as_str()?.parse::<u32>()?);
        }
    }
    beta.commit()?.await?;
    Ok(())
}

/// One logical stream over three keys.
async fn shards() -> Outcome {
    let streamer = streamer().await?;
    let key = StreamKey::new("wide")?;
    let mut options = RedisProducerOptions::default();
    options.set_sharder(RoundRobinSharder::new(3));
    let mut producer = streamer.create_producer(key.clone(), options).await?;
    send(&mut producer, 0..30).await?;
    let mut options = RedisConsumerOptions::new(ConsumerMode::RealTime);
    options.set_auto_stream_reset(AutoStreamReset::Earliest);
    let consumer = streamer.create_consumer(&[key], options).await?;
    let mut all = take(&consumer, 30).await?;
    all.sort_unstable();
    same(all, (0..30).collect())
}

#[tokio::main]
async fn main() {
    // At the same time: to rewind and to end takes a consumer up to ten seconds each, the time of one blocking read.
    tokio::join!(
        check("real time: every consumer has everything, and rewinds", real_time()),
        check("load balanced: a group, and what a dead consumer left", load_balanced()),
        check("one stream over three shards", shards()),
    );
    println!("done");
}
