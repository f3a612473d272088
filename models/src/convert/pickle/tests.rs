use super::*;
use proptest::prelude::*;

fn read(program: &[u8]) -> Result<Pickle<'_>, PickleError> {
    Pickle::read(&mut &program[..])
}

#[test]
fn literals_and_containers_are_read() -> Result<(), PickleError> {
    // {"a": 1, "b": [258, -1]}, memoised as Python writes it.
    let program =
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01X\x01\x00\x00\x00bq\x02]q\x03(M\x02\x01J\xff\xff\xff\xffeu.rest";
    let mut input = &program[..];
    let pickle = Pickle::read(&mut input)?;
    assert_eq!(input, b"rest");
    let Value::Dict(pairs) = pickle.root() else {
        panic!("a dictionary, not {:?}", pickle.root());
    };
    let names: Vec<_> = pairs.iter().map(|&(key, _)| pickle.value(key).clone()).collect();
    assert_eq!(names, [Value::Str("a"), Value::Str("b")]);
    let Value::List(items) = pickle.value(pairs[1].1) else {
        panic!("a list");
    };
    let items: Vec<_> = items.iter().map(|&item| pickle.value(item).clone()).collect();
    assert_eq!(items, [Value::Int(258), Value::Int(-1)]);
    Ok(())
}

#[test]
fn nothing_else_can_be_named_or_called() {
    let shell = b"\x80\x02cposix\nsystem\n(X\x02\x00\x00\x00idtR.";
    assert_eq!(read(shell).err(), Some(PickleError::Global { name: "posix.system".into() }));
    let dictionary_with_arguments = b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.";
    assert!(matches!(read(dictionary_with_arguments), Err(PickleError::Malformed { .. })));
}

#[test]
fn instructions_that_checkpoints_lack_are_refused() {
    // Among them: new object, extension registry, instance, duplicate, 4-byte-length bytes, frames.
    for op in [0x81, 0x82, b'i', b'o', b'2', b'B', 0x95, b'I', b'L', 0x8b, b'P', b'0'] {
        let program = [0x80, 2, b'N', op, 0, 0, 0, 0, b'.'];
        assert_eq!(read(&program).err(), Some(PickleError::Instruction { op, at: 3 }), "{op:#04x}");
    }
    assert!(matches!(read(b"\x80\x04N."), Err(PickleError::Malformed { .. })));
}

#[test]
fn operands_must_be_there_and_of_the_right_kind() {
    for program in [
        &b"."[..],
        b"N(.",
        b"q\x00.",
        b"h\x07.",
        b"t.",
        b"K\x01a.",
        b"Ns.",
        b"}Ns.",
        b"}(Nu.",
        b"]NNs.",
        b"N\x86.",
        b"NQ.",
        b")Q.",
        b"NNR.",
        b"Nb.",
        b"NNb.",
        b"(\x85.",
    ] {
        assert!(matches!(read(program), Err(PickleError::Malformed { .. })), "{program:?}");
    }
}

#[test]
fn lengths_beyond_the_input_allocate_nothing() {
    for program in
        [&b"X\xff\xff\xff\xffabc"[..], b"\x8a\xffab", b"cposix", b"cposix\nsystem", b"M\x01", b"r\x01\x00", b""]
    {
        assert!(matches!(read(program), Err(PickleError::Truncated { .. })), "{program:?}");
    }
}

#[test]
fn a_program_that_never_stops_is_stopped() {
    let program = vec![b'N'; OPS_MAX + 1];
    assert_eq!(read(&program).err(), Some(PickleError::TooLong));
}

#[test]
fn a_list_that_contains_itself_does_no_harm() -> Result<(), PickleError> {
    let pickle = read(b"]q\x00h\x00a.")?;
    assert!(matches!(pickle.root(), Value::List(items) if items.len() == 1));
    Ok(())
}

#[test]
fn a_memo_index_reserves_nothing() {
    assert!(read(b"Nr\xff\xff\xff\xff.").is_ok());
}

proptest! {
    #[test]
    fn no_input_panics(program in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&program);
    }

    #[test]
    fn no_sequence_of_known_instructions_panics(
        ops in proptest::collection::vec(
            proptest::sample::select(&b"\x80(N\x88\x89KMJ\x8aXqrhj)\x85\x86\x87t]}aesucQRb.\x00\x01\x02\n"[..]),
            0..200,
        ),
    ) {
        let _ = read(&ops);
    }
}
