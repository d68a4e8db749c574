//! Connections: what a client sends, when it is executed, and the order of its replies.
