//! A value that several owners read and one of them changes now and then.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A lock that is held for the length of an expression and never across an await.
#[derive(Debug, Default)]
pub struct Shared<T>(RwLock<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Shared<T> {
        Shared(RwLock::new(value))
    }

    /// The value, to look at.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        // A panic elsewhere ends the process; what it leaves behind is not worse than what it found.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, to change.
    pub fn borrow_mut(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another value in its place.
    pub fn replace(&self, value: T) -> T {
        std::mem::replace(self.borrow_mut().deref_mut(), value)
    }
}

impl<T: Clone> Shared<T> {
    pub fn get(&self) -> T {
        self.borrow().deref().clone()
    }
}
