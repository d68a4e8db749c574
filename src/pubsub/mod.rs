//! Publish and subscribe: the registry of subscriptions, and the frames of messages.

pub mod message;
pub mod registry;
