//! Commands as data (the table) and as values (the parsers).
