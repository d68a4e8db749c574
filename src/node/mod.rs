//! The composition root: builds the owners from the settings and stops them in reverse.
