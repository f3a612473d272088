//! An honest market is green, whatever its owners do.

use dropbear_bench::history::ledger::{FileError, Reader, Writer};
use dropbear_bench::history::log;

use crate::market::History;

/// Every kind of change that owners can make, with requests between them.
#[test]
fn owners_come_change_and_go() {
    let mut history = History::new();
    let all = [(0, 0, 0, 7), (1, 1, 0, 7), (2, 2, 0, 7), (3, 3, 0, 7)];
    let ask = history.ask(1, &all);
    history.block(&[ask]);
    // In one block with an activation, the old version still counts.
    let (activate, ask) = (history.activate(0, 1), history.ask(2, &all));
    history.block(&[activate, ask]);
    // A stale ballot is dropped alone.
    let ask = history.ask(3, &all);
    history.block(&[ask]);
    let ask = history.ask(4, &[(0, 0, 1, 7), (1, 1, 0, 7), (2, 2, 0, 8), (3, 3, 0, 7)]);
    history.block(&[ask]);
    // Rolled back.
    let activate = history.activate(0, 0);
    history.block(&[activate]);
    history.join(4);
    let five = [all.as_slice(), &[(4, 4, 0, 7)]].concat();
    let ask = history.ask(5, &five);
    history.block(&[ask]);
    let withdraw = history.withdraw(1, 0, false);
    history.block(&[withdraw]);
    let ask = history.ask(6, &[(0, 0, 0, 7), (2, 2, 0, 7), (3, 3, 0, 7), (4, 4, 0, 7)]);
    history.block(&[ask]);
    let (activate, rekey) = (history.activate(1, 0), history.rekey(2, 9));
    history.block(&[activate, rekey]);
    // Owner 2 has key 9 and its old models.
    let ask = history.ask(7, &[(0, 0, 0, 7), (1, 1, 0, 7), (9, 2, 0, 7), (3, 3, 0, 7), (4, 4, 0, 7)]);
    history.block(&[ask]);
    let (retire, leave) = (history.withdraw(4, 1, true), history.leave(4));
    history.block(&[retire, leave]);
    let ask = history.ask(8, &[(0, 0, 0, 7), (1, 1, 0, 7), (9, 2, 0, 7), (3, 3, 0, 7)]);
    history.block(&[ask]);

    let report = history.check();
    assert!(report.is_green(), "{report}");
    assert_eq!((report.records, report.certificates, report.charters), (8, 8, 3), "{report}");
    assert_eq!((report.blocks, report.activations), (history.blocks.len() as u64, 8), "{report}");
}

#[test]
fn files_hold_what_was_written() {
    let mut history = History::new();
    let ask = history.ask(1, &[(0, 0, 0, 7), (1, 1, 0, 7), (2, 2, 0, 7)]);
    history.block(&[ask]);
    let mut writer = Writer::new(Vec::new()).unwrap();
    history.blocks.iter().for_each(|block| writer.block(block).unwrap());
    let file = writer.finish().unwrap();
    let read: Result<Vec<_>, _> = Reader::new(file.as_slice()).unwrap().collect();
    assert_eq!(read.unwrap(), history.blocks);
    let cut: Result<Vec<_>, _> = Reader::new(&file[..file.len() - 1]).unwrap().collect();
    assert!(matches!(cut, Err(FileError::Block { number, .. }) if number == history.blocks.len() as u64));
    assert!(matches!(Reader::new(&b"something else entirely"[..]), Err(FileError::Magic)));

    let mut lines = Vec::new();
    history.log.iter().for_each(|event| log::write(&mut lines, event).unwrap());
    let read: Result<Vec<_>, _> = log::read(lines.as_slice()).collect();
    assert_eq!(read.unwrap(), history.log);
    assert!(log::read(&b"{\"kind\":\"nonsense\"}\n"[..]).next().unwrap().is_err());
}
