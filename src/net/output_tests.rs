use super::*;
use crate::resp::rope::{KEPT_BYTES, PRODUCED_BYTES, Produce, SHARED_BYTES_MIN};

fn text(text: &'static str) -> impl FnOnce(&mut Rope) {
    move |out| out.extend_from_slice(text.as_bytes())
}

fn rope(text: &'static str) -> Rope {
    let mut rope = Rope::default();
    rope.extend_from_slice(text.as_bytes());
    rope
}

/// Fills an open slot; returns whether all requests are answered now.
fn fill(output: &mut Output<()>, slot: SlotNumber, reply: &'static str) -> bool {
    output.fill(slot, text(reply), None).expect("the slot is open").drained
}

/// The bytes of one send call.
fn unsent(output: &mut Output<()>) -> Vec<u8> {
    let mut slices = [IoSlice::new(b""); SLICES_MAX];
    let used = output.as_slices(&mut slices);
    slices[..used].iter().map(|slice| &slice[..]).collect::<Vec<_>>().concat()
}

/// All bytes, as received by a socket that accepts odd numbers of bytes.
fn sent(output: &mut Output<()>) -> Vec<u8> {
    let (mut all, mut take) = (Vec::new(), 1);
    let (total, ended) = output.send(|slices| {
        let bytes = slices.iter().map(|slice| &slice[..]).collect::<Vec<_>>().concat();
        take = take * 7 % 30_011 + 1;
        let taken = take.min(bytes.len());
        all.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    });
    ended.expect("the socket takes everything");
    assert_eq!(total, all.len());
    all
}

#[test]
fn what_a_deep_pipeline_took_is_given_back() {
    let mut output = Output::default();
    let slots: Vec<_> = (0..10_000).map(|_| output.open_slot(false, ())).collect();
    assert!(output.memory() > 10_000 * size_of::<Slot<()>>());
    for slot in slots {
        fill(&mut output, slot, "a");
    }
    output.discard_unsent();
    assert!(output.slots.capacity() <= 2 * KEPT_SLOTS, "{}", output.slots.capacity());
}

#[test]
fn replies_leave_in_request_order() {
    let mut output = Output::default();
    output.reply(text("a"));
    let b = output.open_slot(false, ());
    let c = output.open_slot(false, ());
    output.reply(text("d"));
    assert!(!fill(&mut output, c, "c"));
    assert_eq!(unsent(&mut output), b"a");
    assert_eq!(output.unread_bytes(), 3);
    assert!(fill(&mut output, b, "b"));
    assert_eq!(unsent(&mut output), b"abcd");
    output.advance(4);
    assert!(output.is_drained() && output.unread_bytes() == 0 && !output.has_unsent());
}

#[test]
fn a_push_passes_replies_that_wait() {
    let mut output = Output::default();
    let slot = output.open_slot(false, ());
    output.push(text(">"));
    output.push_shared(&Bytes::from_static(b">"));
    assert_eq!(unsent(&mut output), b">>");
    fill(&mut output, slot, "r");
    assert_eq!(unsent(&mut output), b">>r");
}

#[test]
fn what_follows_a_reply_stays_behind_it() {
    let mut output = Output::default();
    let first = output.open_slot(false, ());
    let muted = output.open_slot(true, ());
    output.reply(text("3"));
    output.fill(first, text("1"), Some(rope(">")));
    output.fill(muted, text("2"), Some(rope("!")));
    assert_eq!(unsent(&mut output), b"1>!3");
    assert_eq!(output.unread_bytes(), 4);
}

#[test]
fn a_muted_slot_keeps_order_and_says_nothing() {
    let mut output = Output::default();
    let muted = output.open_slot(true, ());
    let spoken = output.open_slot(false, ());
    fill(&mut output, spoken, "s");
    assert!(fill(&mut output, muted, "m"));
    assert_eq!(unsent(&mut output), b"s");
}

#[test]
fn what_is_kept_with_a_slot_comes_back_once() {
    let mut output = Output::default();
    let (a, b) = (output.open_slot(false, 1), output.open_slot(true, 2));
    *output.slot_mut(b).expect("it waits") += 10;
    for (slot, kept, drained) in [(b, 12, false), (a, 1, true)] {
        let filled = output.fill(slot, text("x"), None);
        assert_eq!(filled, Some(Filled { drained, kept }));
        assert_eq!(output.slot_mut(slot), None);
    }
}

#[test]
fn an_answer_that_comes_late_changes_nothing() {
    let mut output = Output::default();
    let a = output.open_slot(false, ());
    let b = output.open_slot(false, ());
    fill(&mut output, b, "b");
    assert_eq!(output.fill(b, |_| panic!("it is filled"), Some(rope(">"))), None);
    fill(&mut output, a, "a");
    for slot in [a, b, SlotNumber(2), SlotNumber(u64::MAX)] {
        assert_eq!(output.fill(slot, |_| panic!("no such slot waits"), None), None);
    }
    assert_eq!(unsent(&mut output), b">ab");
}

#[test]
fn a_message_to_many_outputs_is_in_memory_once() {
    const LEN: usize = 1 << 20;
    let message = Bytes::from(vec![b'x'; LEN]);
    let mut outputs: Vec<_> = (0..1000).map(|_| Output::<()>::default()).collect();
    for output in &mut outputs {
        output.push(text("+"));
        output.push_shared(&message);
        assert_eq!(output.unread_bytes(), LEN + 1, "a limit counts what the client has not read");
        let mut slices = [IoSlice::new(b""); 2];
        assert_eq!(output.as_slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), message.as_ptr(), "it was copied");
    }
    let address = message.as_ptr();
    let total = LEN + outputs.iter().map(|output| output.memory()).sum::<usize>();
    assert!(total < LEN + 1000 * 512, "{total}");
    drop(message);
    outputs.drain(1..);
    assert!(outputs[0].memory() > LEN, "the last one accounts for it");
    let mut slices = [IoSlice::new(b""); 2];
    outputs[0].as_slices(&mut slices);
    assert_eq!(slices[1].as_ptr(), address);
}

/// Produces a number of copies of a text.
struct Repeated {
    text: &'static [u8],
    left: usize,
}

impl Produce for Repeated {
    fn produce(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        let times = self.left.min(limit / self.text.len());
        (0..times).for_each(|_| out.extend_from_slice(self.text));
        self.left -= times;
        self.left > 0
    }

    fn held_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_lazy_reply_larger_than_memory_is_sent_in_steps() {
    const BLOCK: &[u8] = &[b'x'; 4093];
    const TIMES: usize = (1 << 30) / BLOCK.len();
    let mut output = Output::<()>::default();
    let first = output.open_slot(false, ());
    let second = output.open_slot(false, ());
    output.fill(second, |out| out.push_lazy(Box::new(Repeated { text: BLOCK, left: TIMES })), None);
    output.reply(text("end"));
    assert_eq!(output.unread_bytes(), 3, "nothing is produced while it is held");
    fill(&mut output, first, "begin");
    let (mut received, mut memory_max, mut take, mut last) = (0, 0, 1, Vec::new());
    while output.has_unsent() {
        let mut slices = [IoSlice::new(b""); SLICES_MAX];
        let used = output.as_slices(&mut slices);
        take = take * 31 % 100_003 + 1;
        let mut room = take;
        for slice in &slices[..used] {
            let taken = slice.len().min(room);
            room -= taken;
            received += taken;
            last = slice[..taken].to_vec();
        }
        output.advance(take - room);
        memory_max = memory_max.max(output.memory());
        assert!(output.unread_bytes() <= PRODUCED_BYTES + 8);
    }
    assert_eq!(received, 5 + TIMES * BLOCK.len() + 3);
    assert!(last.ends_with(b"d"));
    assert!(memory_max < 2 * PRODUCED_BYTES, "{memory_max}");
    assert!(output.memory() <= KEPT_BYTES + 4 * size_of::<Slot<()>>(), "{}", output.memory());
}

#[test]
fn lazy_replies_keep_their_place_between_slots() {
    let lazy =
        |text: &'static [u8], left| move |out: &mut Rope| out.push_lazy(Box::new(Repeated { text, left }));
    let mut output = Output::default();
    output.reply(lazy(b"a", 100_000));
    let b = output.open_slot(false, ());
    output.reply(lazy(b"c", 70_000));
    let d = output.open_slot(false, ());
    output.reply(text("e"));
    output.push(text(">"));
    output.fill(d, lazy(b"d", 3), Some(rope("!")));
    output.fill(b, |out| out.push_shared(&Bytes::from(vec![b'b'; SHARED_BYTES_MIN])), None);
    output.push(text("<"));
    let expected: Vec<u8> = [
        (b'a', 100_000),
        (b'>', 1),
        (b'b', SHARED_BYTES_MIN),
        (b'c', 70_000),
        (b'd', 3),
        (b'!', 1),
        (b'e', 1),
        (b'<', 1),
    ]
    .into_iter()
    .flat_map(|(byte, times)| std::iter::repeat_n(byte, times))
    .collect();
    assert!(sent(&mut output) == expected);
    assert!(output.is_drained() && !output.has_unsent() && output.unread_bytes() == 0);
}

#[test]
fn a_socket_that_fails_keeps_what_it_did_not_take() {
    let mut output = Output::<()>::default();
    output.reply(text("abc"));
    let mut calls = 0;
    let (total, ended) = output.send(|_| {
        calls += 1;
        if calls == 1 { Ok(2) } else { Err(ErrorKind::WouldBlock.into()) }
    });
    assert_eq!((total, ended.map_err(|error| error.kind())), (2, Err(ErrorKind::WouldBlock)));
    assert_eq!(unsent(&mut output), b"c");
    let (total, ended) = output.send(|_| Ok(0));
    assert_eq!((total, ended.map_err(|error| error.kind())), (0, Err(ErrorKind::WriteZero)));
}
