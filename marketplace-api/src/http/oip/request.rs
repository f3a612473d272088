//! An inference request's JSON, read strictly where it matters and without building a tree of what a client sends.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::data;
use crate::ask::{Failure, Tensor, TensorData};
use crate::elements::split_elements;
use crate::schema::{Takes, Task, element_count};

/// A request has at most this many parameters, and a tensor this many.
const PARAMETERS_MAX: usize = 64;
const ID_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
pub(super) struct InferRequest<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) parameters: Parameters,
    #[serde(borrow)]
    pub(super) inputs: Vec<Input<'a>>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
pub(super) struct Input<'a> {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// Which outputs the client wants, and how.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Name, and whether in binary; empty for all.
    outputs: Vec<(String, bool)>,
    binary: bool,
}

impl Wanted {
    pub(super) const fn all_binary() -> Self {
        Self { outputs: Vec::new(), binary: true }
    }

    /// Whether the output is wanted, and if, whether in binary.
    pub(super) fn form(&self, name: &str) -> Option<bool> {
        if self.outputs.is_empty() {
            return Some(self.binary);
        }
        self.outputs.iter().find(|(wanted, _)| wanted == name).map(|(_, binary)| *binary)
    }
}

impl InferRequest<'_> {
    pub(super) fn wanted(&self, task: Task) -> Result<Wanted, Failure> {
        if self.id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
            return Err(Failure::BadInput(format!("`id` is longer than {ID_BYTES_MAX} bytes")));
        }
        let binary = self.parameters.flag("binary_data_output").unwrap_or(false);
        let one = |output: &Output| {
            if !task.output_names().contains(&output.name.as_str()) {
                let known = task.output_names().join(", ");
                let name: String = output.name.chars().take(64).collect();
                return Err(Failure::BadInput(format!("there is no output `{name}`, only {known}")));
            }
            Ok((output.name.clone(), output.parameters.flag("binary_data").unwrap_or(binary)))
        };
        let outputs = self.outputs.iter().take(PARAMETERS_MAX).map(one).collect::<Result<_, _>>()?;
        Ok(Wanted { outputs, binary })
    }
}

impl Input<'_> {
    /// The tensor, from its JSON data or from the binary part of the body.
    pub(super) fn tensor(&self, task: Task, binary: Bytes) -> Result<Tensor, Failure> {
        let name: String = self.name.chars().take(64).collect();
        let bad = |problem: &str| Failure::BadInput(format!("input `{name}`: {problem}"));
        let count = element_count(&self.shape).ok_or_else(|| bad("its shape is too large"))?;
        let data = match (self.parameters.number("binary_data_size"), self.data) {
            (Some(size), None) if size == binary.len() as u64 => self.raw(binary, count).map_err(bad)?,
            (Some(_), None) => {
                return Err(bad("its `binary_data_size` is not what follows the JSON part of the body"));
            }
            (None, Some(_)) if !binary.is_empty() => {
                return Err(bad("bytes follow the JSON, but it has no `binary_data_size`"));
            }
            (None, Some(data)) => {
                let base64 = task.takes == Takes::Pictures;
                data::read(data, &self.datatype, count, base64).map_err(|problem| bad(&problem))?
            }
            (Some(_), Some(_)) => return Err(bad("it has both `data` and `binary_data_size`")),
            (None, None) => return Err(bad("it has neither `data` nor `binary_data_size`")),
        };
        Ok(Tensor { name: self.name.clone(), datatype: self.datatype.clone(), shape: self.shape.clone(), data })
    }

    fn raw(&self, binary: Bytes, count: usize) -> Result<TensorData, &'static str> {
        if self.datatype == "BYTES" { split_elements(binary, count) } else { Ok(TensorData::Raw(binary)) }
    }
}

/// Parameters: a flat map of strings, numbers and flags.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, Parameter>);

#[derive(Clone, Debug)]
enum Parameter {
    Text(String),
    Number(u64),
    /// Null, a fraction, or a negative number: no parameter that is known here.
    Other,
    Flag(bool),
}

impl Parameters {
    fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name)? {
            Parameter::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Parameter::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// As texts, by name.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let text = |(name, parameter): (&String, &Parameter)| {
            let text = match parameter {
                Parameter::Text(text) => text.clone(),
                Parameter::Number(number) => number.to_string(),
                Parameter::Flag(flag) => flag.to_string(),
                Parameter::Other => "neither text, whole number nor flag".into(),
            };
            (name.clone(), text)
        };
        self.0.iter().map(text).collect()
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Flat;
        impl<'de> Visitor<'de> for Flat {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flat map of parameters")
            }

            fn visit_unit<E>(self) -> Result<Parameters, E> {
                Ok(Parameters::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut parameters = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    parameters.insert(name, value);
                    if parameters.len() > PARAMETERS_MAX {
                        return Err(A::Error::custom(format!("more than {PARAMETERS_MAX} parameters")));
                    }
                }
                Ok(Parameters(parameters))
            }
        }
        deserializer.deserialize_any(Flat)
    }
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Parameter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, number or boolean (parameters are flat)")
            }

            fn visit_str<E>(self, text: &str) -> Result<Parameter, E> {
                Ok(Parameter::Text(text.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Parameter, E> {
                Ok(Parameter::Number(number))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Parameter, E> {
                Ok(Parameter::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Parameter, E> {
                Ok(Parameter::Other)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Parameter, E> {
                Ok(Parameter::Flag(flag))
            }

            fn visit_unit<E>(self) -> Result<Parameter, E> {
                Ok(Parameter::Other)
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Gives;

    const TASK: Task = Task { takes: Takes::Tensor, gives: Gives::Echo { exact: false } };

    fn tensor(json: &str, binary: &'static [u8]) -> Result<Tensor, String> {
        let request: InferRequest<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        request.inputs[0].tensor(TASK, Bytes::from_static(binary)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn json_and_binary_give_the_same_tensor() {
        let json = r#"{"model_name":"x","inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[[1, 2.5]]}]}"#;
        let described = r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32",
            "parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
        assert_eq!(tensor(json, b""), tensor(described, b"\x00\x00\x80\x3f\x00\x00\x20\x40"));
        let elements =
            r#"{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11}}]}"#;
        let split = tensor(elements, b"\x02\x00\x00\x00hi\x01\x00\x00\x00!").unwrap();
        assert_eq!(split.data, TensorData::Elements(vec![Bytes::from_static(b"hi"), Bytes::from_static(b"!")]));
    }

    #[test]
    fn hostile_descriptions_are_refused() {
        let with = |rest: &str| format!(r#"{{"inputs":[{{"name":"a","shape":[2],{rest}}}]}}"#);
        for (rest, binary, complaint) in [
            (r#""datatype":"FP32""#, b"".as_slice(), "neither"),
            (r#""datatype":"FP32","data":[1,2],"parameters":{"binary_data_size":8}"#, b"", "both"),
            (r#""datatype":"FP32","parameters":{"binary_data_size":9}"#, b"12345678", "not what follows"),
            (r#""datatype":"FP32","data":[1,2]"#, b"12345678", "bytes follow"),
            (r#""datatype":"FP32","data":[1,2,3]"#, b"", "more than 2"),
            (r#""datatype":"BYTES","parameters":{"binary_data_size":4}"#, b"\xff\xff\xff\xff", "little-endian length"),
            (r#""datatype":"BYTES","parameters":{"binary_data_size":3}"#, b"\x00\x00\x00", "little-endian length"),
            (r#""datatype":"FP32","parameters":{"deep":{"a":1}}"#, b"", "parameters are flat"),
            (r#""datatype":"FP32","parameters":{"deep":[1]}"#, b"", "parameters are flat"),
        ] {
            let message = tensor(&with(rest), binary).unwrap_err();
            assert!(message.contains(complaint), "{rest}: {message}");
        }
        for json in ["", "[]", "{}", r#"{"inputs":1}"#, r#"{"inputs":[{"name":"a","shape":[-1],"datatype":"FP32"}]}"#] {
            assert!(tensor(json, b"").is_err(), "{json}");
        }
        let many: Vec<_> = (0..100).map(|place| format!(r#""{place}":1"#)).collect();
        let many = format!(r#"{{"inputs":[],"parameters":{{{}}}}}"#, many.join(","));
        assert!(serde_json::from_str::<InferRequest<'_>>(&many).is_err());
    }
}
