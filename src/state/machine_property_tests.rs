//! Properties of the machine under random ops: its invariants hold, checkpoints are exact, images stay
//! what they were.

use crate::model::log::LogIndex;
use crate::model::time::TimeMs;
use crate::state::checkpoint;
use crate::state::effects::Effects;
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::state::op::random::{pool, random_op, random_query};
use crate::state::seen::LoggedOnly;
use crate::state::testing::Random;

pub fn image(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    checkpoint::encode(&MachineImage::of(machine), &mut |piece| bytes.extend_from_slice(piece));
    bytes
}

#[test]
fn random_ops_keep_the_invariants_and_checkpoints_are_exact() {
    let pool = pool();
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let (mut machine, mut now) = (Machine::new(), 1000);
        let mut twin = Machine::new();
        for index in 1..=200 {
            now += random.below(20);
            machine.begin(LogIndex(index), TimeMs(now));
            twin.begin(LogIndex(index), TimeMs(now));
            for _ in 0..random.below(4) {
                let op = random_op(&mut random, &pool);
                let reply = machine.apply(&op, &mut Effects::wanted());
                assert_eq!(twin.apply(&op, &mut Effects::unwanted()), reply, "{op:?}");
            }
            let query = random_query(&mut random, &pool);
            assert_eq!(
                machine.query(0, TimeMs(now), &query, &LoggedOnly),
                twin.query(0, TimeMs(now), &query, &LoggedOnly),
                "{query:?}"
            );
            if index % 20 == 0 {
                machine.check();
                let bytes = image(&machine);
                // The twin continues from its own checkpoint.
                twin = checkpoint::decode(&image(&twin)).unwrap();
                twin.check();
                assert_eq!(image(&twin), bytes, "seed {seed}, index {index}");
            }
        }
    }
}

#[test]
fn damaged_checkpoints_are_refused_or_read_but_never_panic() {
    let pool = pool();
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut machine = Machine::new();
        machine.begin(LogIndex(1), TimeMs(1000));
        for _ in 0..80 {
            machine.apply(&random_op(&mut random, &pool), &mut Effects::unwanted());
        }
        let bytes = image(&machine);
        for _ in 0..200 {
            let mut damaged = bytes.clone();
            let at = random.below(bytes.len() as u64) as usize;
            damaged[at] ^= 1 << random.below(8);
            if let Ok(machine) = checkpoint::decode(&damaged) {
                machine.check();
            }
            assert!(checkpoint::decode(&bytes[..at]).is_err(), "a cut checkpoint is refused");
        }
    }
}

#[test]
fn an_image_stays_what_it_was() {
    let pool = pool();
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut machine = Machine::new();
        machine.begin(LogIndex(1), TimeMs(1000));
        for _ in 0..100 {
            machine.apply(&random_op(&mut random, &pool), &mut Effects::unwanted());
        }
        let kept = MachineImage::take(&mut machine);
        let bytes = image(&machine);
        for _ in 0..100 {
            machine.apply(&random_op(&mut random, &pool), &mut Effects::unwanted());
        }
        let mut kept_bytes = Vec::new();
        checkpoint::encode(&kept, &mut |piece| kept_bytes.extend_from_slice(piece));
        assert_eq!(kept_bytes, bytes);
    }
}
