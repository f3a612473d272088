use super::*;
use proptest::prelude::*;

fn string(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn int(value: u32) -> Vec<u8> {
    [b"J".as_slice(), &value.to_le_bytes()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".as_slice(), &items.concat(), b"t"].concat()
}

/// A tensor as a pickle builds it.
struct Entry<'a> {
    name: &'a str,
    element: &'a str,
    key: &'a str,
    count: u32,
    offset: u32,
    shape: &'a [u32],
    strides: &'a [u32],
}

const PLAIN: Entry<'static> =
    Entry { name: "w", element: "FloatStorage", key: "7", count: 6, offset: 0, shape: &[2, 3], strides: &[3, 1] };

impl Entry<'_> {
    fn pickled(&self) -> Vec<u8> {
        let ints = |values: &[u32]| tuple(&values.iter().map(|&v| int(v)).collect::<Vec<_>>());
        let storage = tuple(&[
            string("storage"),
            format!("ctorch\n{}\n", self.element).into_bytes(),
            string(self.key),
            string("cpu"),
            int(self.count),
            b"N".to_vec(),
        ]);
        let arguments = tuple(&[
            [storage, b"Q".to_vec()].concat(),
            int(self.offset),
            ints(self.shape),
            ints(self.strides),
            vec![0x89],
            b"ccollections\nOrderedDict\n)R".to_vec(),
        ]);
        let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec();
        [string(self.name), rebuild, arguments, b"R".to_vec()].concat()
    }
}

fn preamble() -> Vec<u8> {
    let magic = [b"\x80\x02\x8a\x0a".as_slice(), MAGIC, b"."].concat();
    let system = [b"\x80\x02}".as_slice(), &string("little_endian"), b"\x88s."].concat();
    [magic, b"\x80\x02M\xe9\x03.".to_vec(), system].concat()
}

fn file(entries: &[Entry<'_>], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut file = preamble();
    file.extend(b"\x80\x02ccollections\nOrderedDict\n)R(");
    file.extend(entries.iter().flat_map(Entry::pickled));
    file.extend(b"u}b.");
    file.extend(b"\x80\x02](");
    file.extend(storages.iter().flat_map(|(key, _)| string(key)));
    file.extend(b"e.");
    for (_, elements) in storages {
        file.extend((elements.len() as u64).to_le_bytes());
        file.extend(elements.iter().flat_map(|e| e.to_le_bytes()));
    }
    file
}

const SIX: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn tensors_are_read_whatever_their_strides() -> Result<(), CheckpointError> {
    let transposed = Entry { name: "t", strides: &[1, 2], ..PLAIN };
    let corner = Entry { name: "c", offset: 4, shape: &[2], strides: &[1], ..PLAIN };
    let mut longer = SIX.to_vec();
    longer.extend([0.0; 30]);
    let spare = Entry { name: "spare", key: "8", count: 36, shape: &[36], strides: &[1], ..PLAIN };
    let file = file(&[PLAIN, transposed, corner, spare], &[("7", &SIX), ("8", &longer)]);
    let mut checkpoint = Checkpoint::parse(&file)?;
    let mut elements = |name: &str| checkpoint.take(name).map(|weights| weights.elements);
    assert_eq!(elements("w"), Some(SIX.to_vec()));
    assert_eq!(elements("t"), Some(vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]));
    assert_eq!(elements("c"), Some(vec![4.0, 5.0]));
    Ok(())
}

#[test]
fn a_scalar_is_a_tensor_and_counters_are_left_out() -> Result<(), CheckpointError> {
    let scalar = Entry { shape: &[], strides: &[], ..PLAIN };
    let counter =
        Entry { name: "count", element: "LongStorage", key: "9", count: 1, shape: &[], strides: &[], ..PLAIN };
    let file = file(&[scalar, counter], &[("7", &SIX)]);
    // The counter's storage is missing.
    assert!(matches!(Checkpoint::parse(&file), Err(CheckpointError::Malformed { part: "storages" })));
    let scalar = Entry { shape: &[], strides: &[], ..PLAIN };
    let file = self::file(&[scalar], &[("7", &SIX)]);
    assert_eq!(Checkpoint::parse(&file)?.names().collect::<Vec<_>>(), ["w"]);
    Ok(())
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    let outside = [
        Entry { offset: 1, ..PLAIN },
        Entry { strides: &[4, 1], ..PLAIN },
        Entry { strides: &[1], ..PLAIN },
        Entry { offset: 0x7fff_ffff, ..PLAIN },
        Entry { shape: &[7], strides: &[1], ..PLAIN },
    ];
    for entry in outside {
        let error = Checkpoint::parse(&file(&[entry], &[("7", &SIX)])).expect_err("outside");
        assert_eq!(error, CheckpointError::Tensor { name: "w".into() });
    }
}

#[test]
fn a_small_file_cannot_become_large_tensors() {
    let huge = Entry { shape: &[0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff], strides: &[0, 0, 0], ..PLAIN };
    let repeated = Entry { shape: &[100_000], strides: &[0], ..PLAIN };
    for entry in [huge, repeated] {
        assert_eq!(Checkpoint::parse(&file(&[entry], &[("7", &SIX)])).err(), Some(CheckpointError::Expansion));
    }
}

#[test]
fn storages_must_be_as_declared() {
    let missing = file(&[PLAIN], &[]);
    let short = file(&[PLAIN], &[("7", &SIX[..5])]);
    let unknown = file(&[PLAIN], &[("7", &SIX), ("8", &SIX)]);
    let twice = Entry { name: "v", count: 5, ..PLAIN };
    let contradictory = file(&[PLAIN, twice], &[("7", &SIX)]);
    for file in [missing, short, unknown, contradictory] {
        assert!(matches!(Checkpoint::parse(&file), Err(CheckpointError::Malformed { .. })));
    }
    let negative = Entry { count: u32::MAX, ..PLAIN };
    assert!(matches!(
        Checkpoint::parse(&file(&[negative], &[("7", &SIX)])),
        Err(CheckpointError::Pickle { part: "state dictionary", .. })
    ));
}

#[test]
fn other_files_are_said_to_be_no_checkpoint() {
    for bytes in [&b""[..], b"PK\x03\x04", b"\x80\x02K\x01.\x80\x02K\x01.", b"\x80\x02N.\x80\x02M\xe9\x03."] {
        assert_eq!(Checkpoint::parse(bytes).err(), Some(CheckpointError::NotACheckpoint));
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = file(&[PLAIN], &[("7", &SIX)]);
    assert!(Checkpoint::parse(&file).is_ok());
    for length in 0..file.len() {
        assert!(Checkpoint::parse(&file[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn damage_never_panics(at: prop::sample::Index, value: u8) {
        let mut file = file(&[PLAIN], &[("7", &SIX)]);
        let at = at.index(file.len());
        file[at] = value;
        let _ = Checkpoint::parse(&file);
    }
}
