use proptest::prelude::*;

use super::*;

const ONE: Spares = Spares(1);

fn version(number: u8) -> Digest {
    Digest::of(&[number])
}

fn orders(current: Option<u8>, pending: &[u8], newest: Option<u8>, previous: Option<u8>) -> Orders {
    Orders {
        current: current.map(version),
        pending: pending.iter().copied().map(version).collect(),
        newest: newest.map(version),
        previous: previous.map(version),
    }
}

/// Versions 1 to 9 take 10 bytes each.
fn stock(loaded: &[u8], memory_bytes_max: u64) -> Stock {
    Stock {
        slots: loaded.iter().map(|number| (version(*number), Slot::Loaded)).collect(),
        at_hand: (1..10).map(|number| (version(number), 10)).collect(),
        leaving_bytes: 0,
        memory_bytes_max,
    }
}

#[test]
fn a_published_version_is_loaded_ahead_and_the_old_one_stays_until_it_is_no_longer_in_force() {
    let (one, two) = (version(1), version(2));
    assert_eq!(plan(&orders(Some(1), &[], Some(2), None), &stock(&[1], 100), ONE), [Command::Load(two)]);
    let pending = orders(Some(1), &[2], Some(2), None);
    assert_eq!(plan(&pending, &stock(&[1], 100), Spares(0)), [Command::Load(two)]);
    assert_eq!(plan(&pending, &stock(&[1, 2], 100), Spares(0)), []);
    let swapped = orders(Some(2), &[], Some(2), Some(1));
    assert_eq!(plan(&swapped, &stock(&[1, 2], 100), Spares(0)), [Command::Unload(one)]);
    assert_eq!(plan(&swapped, &stock(&[1, 2], 100), ONE), [], "kept for a rollback");
    let third = orders(Some(2), &[], Some(3), Some(1));
    assert_eq!(plan(&third, &stock(&[1, 2], 100), ONE), [Command::Unload(one), Command::Load(version(3))]);
}

#[test]
fn two_versions_are_in_memory_only_where_there_is_room_for_both() {
    let pending = orders(Some(1), &[2], None, None);
    assert_eq!(plan(&pending, &stock(&[1], 19), ONE), [Command::NoRoom(version(2), 10)]);
    assert_eq!(plan(&pending, &stock(&[1], 20), ONE), [Command::Load(version(2))]);
    let leaving = Stock { leaving_bytes: 5, ..stock(&[1], 20) };
    assert_eq!(plan(&pending, &leaving, ONE), [Command::NoRoom(version(2), 10)]);
    let spare = orders(Some(1), &[2], Some(3), None);
    assert_eq!(plan(&spare, &stock(&[1, 3], 20), ONE), [Command::Unload(version(3))], "a spare makes room");
    let room = [Command::Load(version(2)), Command::NoRoom(version(3), 10)];
    assert_eq!(plan(&spare, &stock(&[1], 20), ONE), room);
    // In force, it is loaded whatever it takes.
    assert_eq!(plan(&orders(Some(2), &[], None, None), &stock(&[], 5), ONE), [Command::Load(version(2))]);
}

#[test]
fn a_version_that_does_not_load_is_withdrawn_once_and_forgotten_when_nobody_names_it() {
    let mut stock = stock(&[1], 100);
    stock.slots.insert(version(2), Slot::Failed("broken".into()));
    let withdrawn = plan(&orders(Some(1), &[2], None, None), &stock, ONE);
    assert_eq!(withdrawn, [Command::Withdraw(version(2), "broken".into())]);
    assert_eq!(plan(&orders(Some(1), &[], None, None), &stock, ONE), [Command::Unload(version(2))]);
}

#[test]
fn files_that_are_not_here_are_missed_when_they_are_needed() {
    assert_eq!(plan(&orders(Some(1), &[20], Some(21), None), &stock(&[1], 100), ONE), [Command::Missing(version(20))]);
}

/// A node that does as it is told, with loads that end in any order.
fn obey(stock: &mut Stock, commands: &[Command], orders: &Orders) {
    for command in commands {
        match command {
            Command::Load(version) => {
                assert_eq!(stock.slots.insert(*version, Slot::Loading), None);
            }
            Command::Unload(version) => {
                assert_ne!(Some(*version), orders.current, "the version in force is never unloaded");
                assert!(stock.slots.remove(version).is_some_and(|slot| slot != Slot::Loading));
            }
            Command::Withdraw(..) | Command::NoRoom(..) | Command::Missing(_) => {}
        }
    }
}

fn any_orders() -> impl Strategy<Value = Orders> {
    let one = || proptest::option::of(1u8..10);
    (one(), proptest::collection::vec(1u8..10, 0..3), one(), one())
        .prop_map(|(current, pending, newest, previous)| orders(current, &pending, newest, previous))
}

proptest! {
    #[test]
    fn whatever_is_ordered_ends_in_memory_within_its_bounds(
        steps in proptest::collection::vec((any_orders(), 0usize..3), 1..20),
        memory_bytes_max in 10u64..80,
    ) {
        let mut stock = stock(&[], memory_bytes_max);
        let settle = |stock: &mut Stock, count: usize| {
            let loading = stock.slots.values_mut().filter(|slot| **slot == Slot::Loading);
            loading.take(count).for_each(|slot| *slot = Slot::Loaded);
        };
        for (orders, done) in steps {
            let commands = plan(&orders, &stock, ONE);
            obey(&mut stock, &commands, &orders);
            let bytes = 10 * stock.slots.len() as u64;
            let excess = if orders.current.is_some() { 10 } else { 0 };
            // Loads that were begun under earlier orders are awaited, and only the version in force may exceed.
            let awaited = 10 * stock.slots.values().filter(|slot| **slot == Slot::Loading).count() as u64;
            prop_assert!(bytes <= memory_bytes_max + excess + awaited, "{:?}", stock);
            settle(&mut stock, done);
            // Left alone, the node comes to rest with the version in force loaded.
            let mut rest = stock.clone();
            for _ in 0..20 {
                let commands = plan(&orders, &rest, ONE);
                obey(&mut rest, &commands, &orders);
                settle(&mut rest, usize::MAX);
            }
            prop_assert!(orders.current.is_none_or(|current| rest.slots.get(&current) == Some(&Slot::Loaded)));
            let repeated = plan(&orders, &rest, ONE);
            prop_assert!(repeated.iter().all(|command| matches!(command, Command::NoRoom(..))), "{:?}", repeated);
        }
    }
}
