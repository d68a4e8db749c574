//! The outside world as traits: files, clock, entropy. The only room with `unsafe` and the only one that maps files.
