//! Request bodies: bounded in size, in time, and in how many bytes are held at once; gzip and deflate accepted.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::ApiError;
use crate::ask::Failure;
use crate::config::Limits;

/// A client that sends too much is read, and ignored, up to this much: else it never sees the answer.
const DRAIN_BYTES_MAX: usize = 256 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Room made for an announced body when its first bytes come; it grows beyond.
const RESERVED_BYTES_MAX: usize = 2 << 20;
const KIB: usize = 1024;

/// Bounds for all bodies together.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget {
    /// In KiB.
    left: Arc<Semaphore>,
    bytes_max: usize,
    timeout: Duration,
}

/// A body with its share of the budget.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl BodyBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            left: Arc::new(Semaphore::new(limits.body_bytes_in_flight_max / KIB)),
            bytes_max: limits.body_bytes_max,
            timeout: Duration::from_millis(limits.body_timeout_ms),
        }
    }

    /// Reads a body, and decompresses it.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, ApiError> {
        let encoding = Encoding::of(headers)?;
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.bytes_max) {
            drain(body).await;
            return Err(self.too_large());
        }
        let mut share = self.share(0)?;
        let bytes = match timeout(self.timeout, self.collect(body, announced.unwrap_or(0), &mut share)).await {
            Ok(collected) => collected?,
            Err(_) => return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the request body came too slowly")),
        };
        if encoding != Encoding::Identity {
            share.merge(self.share(self.bytes_max)?);
        }
        let bytes = encoding.unpack(bytes, self.bytes_max).await?.ok_or_else(|| self.too_large())?;
        Ok(Held { bytes, _share: share })
    }

    /// Reads a body, paying for its bytes as they arrive: what is only announced holds nobody else up.
    async fn collect(&self, body: Body, announced: usize, share: &mut OwnedSemaphorePermit) -> Result<Bytes, ApiError> {
        let mut limited = Limited::new(body, self.bytes_max);
        let (mut bytes, mut paid_kib) = (BytesMut::new(), 0);
        while let Some(frame) = limited.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => self.too_large(),
                false => ApiError::bad_request("the request body ended early"),
            })?;
            if let Ok(data) = frame.into_data() {
                if bytes.is_empty() {
                    bytes.reserve(announced.min(RESERVED_BYTES_MAX));
                }
                bytes.extend_from_slice(&data);
                let due_kib = bytes.len().div_ceil(KIB);
                share.merge(self.share((due_kib - paid_kib) * KIB)?);
                paid_kib = due_kib;
            }
        }
        Ok(bytes.freeze())
    }

    fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).map_err(|_| self.too_large())?;
        let share = Arc::clone(&self.left).try_acquire_many_owned(kib);
        share.map_err(|_| ApiError::from(Failure::Overloaded("request bodies in flight")))
    }

    fn too_large(&self) -> ApiError {
        let limit = self.bytes_max;
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is larger than {limit} bytes; send fewer or smaller inputs"),
        )
    }
}

async fn drain(body: Body) {
    let mut limited = Limited::new(body, DRAIN_BYTES_MAX);
    let ignore = async { while let Some(Ok(_)) = limited.frame().await {} };
    let _ = timeout(DRAIN_TIMEOUT, ignore).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the content encoding is not known; use gzip, deflate or none",
            )),
        }
    }

    /// The body unpacked; `None` if it is larger than `max`.
    async fn unpack(self, bytes: Bytes, max: usize) -> Result<Option<Bytes>, ApiError> {
        let work = match self {
            Self::Identity => return Ok(Some(bytes)),
            Self::Gzip => spawn_blocking(move || read_up_to(MultiGzDecoder::new(&*bytes), max)),
            Self::Deflate => spawn_blocking(move || read_up_to(ZlibDecoder::new(&*bytes), max)),
        };
        let unpacked = work.await.map_err(|_| ApiError::from(Failure::Internal("decompressing failed")))?;
        unpacked.map_err(|_| ApiError::bad_request("the request body is not what its content encoding says"))
    }
}

fn read_up_to(reader: impl std::io::Read, max: usize) -> std::io::Result<Option<Bytes>> {
    let mut unpacked = Vec::new();
    reader.take(max as u64 + 1).read_to_end(&mut unpacked)?;
    Ok((unpacked.len() <= max).then(|| unpacked.into()))
}
