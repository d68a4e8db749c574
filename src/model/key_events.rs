//! Classes of keyspace events, as `notify-keyspace-events` names them (`notify.c`, Redis 8.2).

use std::ops::BitOr;

/// A set of the letters of `notify-keyspace-events`: the channel kinds to publish to, and the event classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventClasses(u32);

impl EventClasses {
    pub const NONE: EventClasses = EventClasses(0);
    /// `K`: publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: EventClasses = EventClasses(1 << 0);
    /// `E`: publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// `g`
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    /// `$`
    pub const STRING: EventClasses = EventClasses(1 << 3);
    /// `x`
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    /// `t`
    pub const STREAM: EventClasses = EventClasses(1 << 10);
    /// `m`: a read did not find its key. Like the next three it is not in `A`.
    pub const MISS: EventClasses = EventClasses(1 << 12);
    /// `n`
    pub const NEW: EventClasses = EventClasses(1 << 13);
    /// `o`
    pub const OVERWRITTEN: EventClasses = EventClasses(1 << 14);
    /// `c`
    pub const TYPE_CHANGED: EventClasses = EventClasses(1 << 15);

    /// The letters that a client may write. Lists, sets, hashes, sorted sets, modules and evictions are
    /// accepted but never occur here; `S`, `T`, `I`, `V` (8.8) concern hash fields.
    const LETTERS: [(char, u32); 20] = [
        ('g', 1 << 2),
        ('$', 1 << 3),
        ('l', 1 << 4),
        ('s', 1 << 5),
        ('h', 1 << 6),
        ('z', 1 << 7),
        ('x', 1 << 8),
        ('e', 1 << 9),
        ('t', 1 << 10),
        ('d', 1 << 11),
        ('K', 1 << 0),
        ('E', 1 << 1),
        ('m', 1 << 12),
        ('n', 1 << 13),
        ('o', 1 << 14),
        ('c', 1 << 15),
        ('S', 1 << 16),
        ('T', 1 << 17),
        ('I', 1 << 18),
        ('V', 1 << 19),
    ];

    /// `A`, an alias of `g$lshzxetd`.
    const ALL: u32 = 0b1111_1111_1100;

    /// `None` for an unknown letter.
    pub fn parse(text: &str) -> Option<EventClasses> {
        let mut bits = 0;
        for letter in text.chars() {
            bits |= match letter {
                'A' => Self::ALL,
                _ => Self::LETTERS.iter().find(|(known, _)| *known == letter)?.1,
            };
        }
        Some(EventClasses(bits))
    }

    pub fn contains(self, other: EventClasses) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any event is published: at least one channel kind and one class are set.
    pub fn is_on(self) -> bool {
        let channels = Self::KEYSPACE.0 | Self::KEYEVENT.0;
        self.0 & channels != 0 && self.0 & !channels != 0
    }
}

impl BitOr for EventClasses {
    type Output = EventClasses;

    fn bitor(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 | other.0)
    }
}

/// The canonical form that CONFIG GET returns (`keyspaceEventsFlagsToString`, Redis 8.2).
impl std::fmt::Display for EventClasses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        let all = self.0 & Self::ALL == Self::ALL;
        if all {
            f.write_char('A')?;
        }
        Self::LETTERS
            .iter()
            .filter(|(_, bit)| self.0 & bit != 0 && !(all && Self::ALL & bit != 0))
            .try_for_each(|(letter, _)| f.write_char(*letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_that_of_redis() {
        for (written, told) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Ex", "xE"),
            ("KEg$lshzxetd", "AKE"),
            ("g$xKE", "g$xKE"),
            ("KEAm", "AKEm"),
            ("mnK", "Kmn"),
            ("VITScon", "nocSTIV"),
        ] {
            assert_eq!(EventClasses::parse(written).unwrap().to_string(), told, "{written}");
        }
        assert_eq!(EventClasses::parse("Kq"), None);
    }

    #[test]
    fn nothing_is_on_without_a_channel_and_a_class() {
        for (text, on) in [("", false), ("A", false), ("K", false), ("KE", false), ("Kx", true), ("Em", true)]
        {
            assert_eq!(EventClasses::parse(text).unwrap().is_on(), on, "{text}");
        }
        let all = EventClasses::parse("AKE").unwrap();
        assert!(all.contains(EventClasses::STREAM) && !all.contains(EventClasses::MISS));
    }
}
