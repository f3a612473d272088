//! Agreed answers as output tensors and response parameters.

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use dropbear_certificates::Vote;

use super::{label, tally_json, values};
use crate::ask::{Answer, Tensor, TensorData};
use crate::market::Market;
use crate::schema::{CLASS, DIGEST, Gives, LABEL, OUTPUT, RANKING, TALLY, Task};

/// What a response is made of.
pub(crate) struct Outputs<'a> {
    pub(crate) task: Task,
    pub(crate) market: &'a Market,
    /// All agreed.
    pub(crate) answers: &'a [Answer],
    /// The input, for tasks that give it back.
    pub(crate) echo: Option<Tensor>,
    /// Whether the client brought its seed: then it is not sent back.
    pub(crate) seed_was_given: bool,
}

/// What stands in a ranking after its last class.
const NO_CLASS: i64 = -1;

impl Outputs<'_> {
    /// The output tensors that are wanted.
    pub(crate) fn tensors(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Tensor> {
        let names = self.task.output_names().iter().filter(|name| is_wanted(name));
        names.filter_map(|name| self.tensor(name)).collect()
    }

    fn tensor(&self, name: &'static str) -> Option<Tensor> {
        Some(match (name, self.task.gives) {
            (CLASS, _) => self.numbers(CLASS, &[], |answer| vec![class(answer).map_or(NO_CLASS, i64::from)]),
            (RANKING, Gives::Ranking { ranks }) => self.numbers(RANKING, &[ranks], |answer| ranking(answer, ranks)),
            (OUTPUT, Gives::Values(bounds)) => self.values(bounds.length.into()),
            (OUTPUT, Gives::Echo { exact }) => {
                let holds = !exact || self.answers.iter().all(|answer| answer.output.is_some());
                let echo = self.echo.clone().filter(|_| holds)?;
                Tensor { name: OUTPUT.into(), ..echo }
            }
            (OUTPUT, _) => {
                let elements = self.answers.iter().map(|answer| answer.output.clone()).collect::<Option<_>>()?;
                self.elements(OUTPUT, elements)
            }
            (LABEL, _) => self.texts(LABEL, |answer| {
                class(answer).map_or_else(String::new, |class| label(self.market, &answer.finding.charter, class))
            }),
            (DIGEST, _) => self.texts(DIGEST, |answer| match answer.finding.result() {
                Some(Vote::Output(digest)) => digest.to_string(),
                _ => String::new(),
            }),
            _ => self.texts(TALLY, |answer| tally_json(&answer.finding, self.market).to_string()),
        })
    }

    fn texts(&self, name: &str, text: impl Fn(&Answer) -> String) -> Tensor {
        self.elements(name, self.answers.iter().map(|answer| Bytes::from(text(answer))).collect())
    }

    fn elements(&self, name: &str, elements: Vec<Bytes>) -> Tensor {
        let shape = vec![self.answers.len() as u64];
        Tensor { name: name.into(), datatype: "BYTES".into(), shape, data: TensorData::Elements(elements) }
    }

    fn numbers(&self, name: &str, rest: &[u64], of: impl Fn(&Answer) -> Vec<i64>) -> Tensor {
        let data: Vec<u8> = self.answers.iter().flat_map(of).flat_map(i64::to_le_bytes).collect();
        let shape = [&[self.answers.len() as u64], rest].concat();
        Tensor { name: name.into(), datatype: "INT64".into(), shape, data: TensorData::Raw(data.into()) }
    }

    fn values(&self, length: u64) -> Tensor {
        let of = |answer: &Answer| match answer.finding.result() {
            Some(Vote::Tensor(tensor)) => values(answer.finding.charter.policy, tensor),
            _ => Vec::new(),
        };
        let data: Vec<u8> = self.answers.iter().flat_map(of).flat_map(f64::to_le_bytes).collect();
        let shape = vec![self.answers.len() as u64, length];
        Tensor { name: OUTPUT.into(), datatype: "FP64".into(), shape, data: TensorData::Raw(data.into()) }
    }

    /// What goes into the response parameters, as texts.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        for (place, Answer { naming, finding, certificate, .. }) in self.answers.iter().enumerate() {
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

/// The classes by their points, as many as a ranking has.
fn ranking(answer: &Answer, ranks: u64) -> Vec<i64> {
    let ranks = usize::try_from(ranks).unwrap_or(usize::MAX);
    let mut classes: Vec<_> = answer.finding.points.iter().map(|(class, _)| i64::from(*class)).take(ranks).collect();
    classes.resize(ranks, NO_CLASS);
    classes
}
