//! How a call is to be answered, from whatever a client can set: request parameters, headers, or the query.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::HeaderMap;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use dropbear_certificates::{Assurance, PublicKey, Seed, Signature};

use crate::ask::{Failure, Options};

/// Reads options. `find` gives the text of an option by its name.
pub(crate) fn options<'a>(find: impl Fn(&str) -> Option<&'a str>) -> Result<Options, Failure> {
    Ok(Options {
        uncertified: match find("certify") {
            None | Some("true" | "1" | "yes" | "full") => false,
            Some("none" | "false" | "0" | "no") => true,
            Some(_) => return Err(bad("certify", "`none`, `true` or `false`")),
        },
        demand: match find("assurance") {
            None => None,
            Some(name) => Some(Assurance::from_name(name).ok_or(bad("assurance", "supported, decisive or robust"))?),
        },
        nonce: bytes(find("nonce"), "nonce")?,
        seed: bytes(find("seed"), "seed")?.map(Seed),
        timeout: timeout(&find)?,
        expiry_ms: number(find("expiry_ms"), "expiry_ms")?,
        client: client(&find)?,
    })
}

fn bad(name: &str, expected: &str) -> Failure {
    Failure::BadInput(format!("option `{name}` must be {expected}"))
}

/// Bytes of a fixed length, as hex or base64url without padding.
fn bytes<const N: usize>(text: Option<&str>, name: &str) -> Result<Option<[u8; N]>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let expected = || bad(name, &format!("{N} bytes as hex or base64url"));
    let decoded = if text.len() == 2 * N {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes())
    } else {
        BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes())
    };
    decoded.ok().and_then(|bytes| bytes.try_into().ok()).map(Some).ok_or_else(expected)
}

fn number(text: Option<&str>, name: &str) -> Result<Option<u64>, Failure> {
    // Beyond 2^53 numbers are not the same everywhere.
    let parse = |text: &str| text.parse().ok().filter(|number: &u64| *number < 1 << 53);
    text.map(|text| parse(text).ok_or_else(|| bad(name, "a whole number"))).transpose()
}

/// `timeout_ms` is ours; `timeout`, in microseconds, is what Triton's clients send.
fn timeout<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<Duration>, Failure> {
    let milliseconds = number(find("timeout_ms"), "timeout_ms")?.map(Duration::from_millis);
    let microseconds = number(find("timeout"), "timeout")?.map(Duration::from_micros);
    Ok(milliseconds.or(microseconds).filter(|timeout| !timeout.is_zero()))
}

fn client<'a>(find: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<(PublicKey, Vec<Signature>)>, Failure> {
    let (key, signatures) = match (find("client_key"), find("client_signature")) {
        (None, None) => return Ok(None),
        (Some(key), Some(signatures)) => (key, signatures),
        _ => return Err(Failure::BadInput("options `client_key` and `client_signature` go together".into())),
    };
    let key = bytes(Some(key), "client_key")?.and_then(|key| PublicKey::from_bytes(&key).ok());
    let key = key.ok_or_else(|| bad("client_key", "an Ed25519 public key"))?;
    // One per item, in order.
    let signature = |text: &str| Ok(bytes::<64>(Some(text.trim()), "client_signature")?.unwrap_or([0; 64]));
    let signatures = signatures.split(',').map(signature).collect::<Result<_, Failure>>()?;
    Ok(Some((key, signatures)))
}

/// An option in a header: `dropbear-timeout-ms` for `timeout_ms`.
pub(crate) fn from_headers<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let header = format!("dropbear-{}", name.replace('_', "-"));
    headers.get(header)?.to_str().ok()
}

/// An option in a table of texts.
pub(crate) fn from_texts<'a>(texts: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    texts.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let texts: BTreeMap<_, _> = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        options(|name| from_texts(&texts, name)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_option_is_read_or_refused_by_name() {
        let nonce = "000102030405060708090a0b0c0d0e0f";
        let options = read(&[("certify", "none"), ("assurance", "supported"), ("nonce", nonce), ("timeout", "1500")]);
        let options = options.unwrap();
        assert!(options.uncertified);
        assert_eq!((options.demand, options.nonce.unwrap()[15]), (Some(Assurance::Supported), 15));
        assert_eq!(options.timeout, Some(Duration::from_micros(1500)));
        assert_eq!(read(&[("nonce", "AAECAwQFBgcICQoLDA0ODw")]).unwrap().nonce, options.nonce);
        for (name, value) in [
            ("certify", "maybe"),
            ("assurance", "none"),
            ("nonce", "00"),
            ("seed", nonce),
            ("timeout_ms", "-1"),
            ("timeout_ms", "1e3"),
            ("expiry_ms", "99999999999999999999"),
            ("client_key", "00"),
        ] {
            assert!(read(&[(name, value)]).unwrap_err().contains(name), "{name}");
        }
    }
}
