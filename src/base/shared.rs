//! A value with several readers that rarely changes.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A lock held for the length of an expression and never across an await.
#[derive(Debug, Default)]
pub struct Shared<T>(RwLock<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Shared<T> {
        Shared(RwLock::new(value))
    }

    /// The value, for reading.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        // A panic elsewhere ends the process, so the value is never seen half changed.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, for changing.
    pub fn borrow_mut(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the value; returns the old one.
    pub fn replace(&self, value: T) -> T {
        std::mem::replace(self.borrow_mut().deref_mut(), value)
    }
}

impl<T: Clone> Shared<T> {
    pub fn get(&self) -> T {
        self.borrow().deref().clone()
    }
}
