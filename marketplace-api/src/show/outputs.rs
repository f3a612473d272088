//! Agreed answers as output tensors and response parameters.

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use dropbear_certificates::Charter;

use super::{label, tally_json};
use crate::ask::{Answer, Tensor, TensorData};
use crate::market::Market;
use crate::schema::{CLASS, ECHO, LABEL, TALLY, Task};

/// What a response is made of.
pub(crate) struct Outputs<'a> {
    pub(crate) task: Task,
    pub(crate) charter: &'a Charter,
    pub(crate) market: &'a Market,
    /// All agreed.
    pub(crate) answers: &'a [Answer],
    /// The input, for tasks that give it back.
    pub(crate) echo: Option<Tensor>,
    /// Whether the client brought its seed: then it is not sent back.
    pub(crate) seed_was_given: bool,
}

impl Outputs<'_> {
    /// The output tensors.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let tally = self.texts(TALLY.name, |answer| tally_json(&answer.finding, self.charter, self.market).to_string());
        match self.task {
            Task::ImageClassification => {
                let classes = self.answers.iter().flat_map(|answer| class(answer).map_or(-1, i64::from).to_le_bytes());
                let shape = vec![self.answers.len() as u64];
                let data = TensorData::Raw(classes.collect::<Vec<_>>().into());
                let name = |answer: &Answer| {
                    class(answer).map_or_else(String::new, |class| label(self.market, self.charter, class))
                };
                vec![
                    self.texts(LABEL.name, name),
                    Tensor { name: CLASS.name.into(), datatype: CLASS.datatype.into(), shape, data },
                    tally,
                ]
            }
            Task::Identity => {
                let echo = self.echo.clone().map(|echo| Tensor { name: ECHO.name.into(), ..echo });
                echo.into_iter().chain([tally]).collect()
            }
        }
    }

    fn texts(&self, name: &str, text: impl Fn(&Answer) -> String) -> Tensor {
        let elements = self.answers.iter().map(|answer| Bytes::from(text(answer))).collect();
        let shape = vec![self.answers.len() as u64];
        Tensor { name: name.into(), datatype: "BYTES".into(), shape, data: TensorData::Elements(elements) }
    }

    /// What goes into the response parameters, as texts.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        for (place, Answer { naming, finding, certificate }) in self.answers.iter().enumerate() {
            let mut add = |name: &str, value: String| parameters.push((format!("{name}.{place}"), value));
            add("request_id", naming.request_id.to_string());
            add("nonce", HEXLOWER.encode(&naming.nonce));
            add("expiry_ms", naming.expiry_ms.to_string());
            add("assurance", finding.assurance.name().into());
            if !self.seed_was_given {
                add("seed", BASE64URL_NOPAD.encode(&naming.seed.0));
            }
            if let Some(certificate) = certificate {
                add("certificate", BASE64URL_NOPAD.encode(certificate));
            }
        }
        parameters
    }
}

const fn class(answer: &Answer) -> Option<u32> {
    answer.finding.class()
}
