//! What happened in a run, line by line.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What happened, line by line. Clones are the same one.
#[derive(Clone, Default)]
pub struct Trace {
    lines: Rc<RefCell<Vec<String>>>,
    is_printed: Rc<Cell<bool>>,
}

impl Trace {
    pub fn print(&self) {
        self.is_printed.set(true);
    }

    pub fn note(&self, line: String) {
        if self.is_printed.get() {
            println!("{line}");
        }
        self.lines.borrow_mut().push(line);
    }

    pub fn take(&self) -> Vec<String> {
        self.lines.take()
    }

    pub fn tail(&self) -> String {
        let lines = self.lines.borrow();
        let short = |line: &String| line.chars().take(LINE_CHARACTERS_MAX).collect::<String>();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(short).collect::<Vec<_>>().join("\n")
    }
}

/// What a failure tells of what went before it.
const TAIL_LINES: usize = 30;
const LINE_CHARACTERS_MAX: usize = 200;
