//! What is asked: pictures as files and as pixels, and numbers to be echoed.

use std::sync::Arc;

use anyhow::Context as _;
use data_encoding::BASE64;
use dropbear_bench::load::{Body, Question};
use dropbear_models::DecodedImage;
use serde_json::{Value, json};

use crate::zoo;

/// Requests of one kind, before their parameters.
pub(super) struct Inputs {
    group: &'static str,
    /// Each request's JSON, and the raw tensor data behind it.
    requests: Vec<(Value, Vec<u8>)>,
}

impl Inputs {
    /// Sixteen numbers.
    pub(super) fn numbers() -> Self {
        let input = json!({ "name": "INPUT0", "shape": [1, 16], "datatype": "FP32", "data": vec![0.5; 16] });
        Self { group: "identity", requests: vec![(json!({ "inputs": [input] }), Vec::new())] }
    }

    /// Pictures as their files.
    pub(super) fn files(files: &[Vec<u8>]) -> Self {
        let request = |file: &Vec<u8>| {
            let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64.encode(file)] });
            (json!({ "inputs": [input] }), Vec::new())
        };
        Self { group: "imagenet", requests: files.iter().map(request).collect() }
    }

    /// Pictures as UINT8 tensors, in the protocol's binary form.
    pub(super) fn pixels(pictures: &[DecodedImage]) -> Self {
        let request = |picture: &DecodedImage| {
            let rgb = picture.rgb().to_vec();
            let input = json!({
                "name": "image", "datatype": "UINT8", "shape": [1, picture.height(), picture.width(), 3],
                "parameters": { "binary_data_size": rgb.len() },
            });
            (json!({ "inputs": [input] }), rgb)
        };
        Self { group: "imagenet", requests: pictures.iter().map(request).collect() }
    }

    /// The question to the gateway at `url`, with the `certify` parameter as given.
    pub(super) fn question(&self, url: &str, certify: &str) -> anyhow::Result<Question> {
        let body = |(request, raw): &(Value, Vec<u8>)| {
            let mut request = request.clone();
            request["parameters"] = json!({ "certify": certify });
            let json = serde_json::to_vec(&request)?;
            let json_length = (!raw.is_empty()).then_some(json.len());
            Ok(Body { bytes: [json, raw.clone()].concat().into(), json_length })
        };
        let bodies = self.requests.iter().map(body).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Question { url: format!("{url}/v2/models/{}/infer", self.group), bodies: Arc::new(bodies) })
    }
}

/// The files of the labelled photos, which the sample group agrees on.
pub(super) async fn photos() -> anyhow::Result<Vec<Vec<u8>>> {
    let zoo = zoo::fetch_with_progress().await?;
    let labelled = zoo.photos().into_iter().filter(|photo| photo.class.is_some());
    let read =
        |path: std::path::PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    labelled.map(|photo| read(photo.path)).collect()
}
