//! The Open Inference Protocol over gRPC: the same core, in protobuf.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dropbear_wire::inference as pb;
use dropbear_wire::inference::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::ask::{Answer, Answered, Ask, Failure};
use crate::core::Core;
use crate::options;
use crate::schema::{PLATFORM, Task, TensorSpec, VERSION};
use crate::show::{NO_AGREEMENT, Outputs, item_json};

mod contents;

const STREAMS_MAX: u32 = 128;

/// Serves until `stop` changes.
pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>, mut stop: watch::Receiver<bool>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report(Arc::clone(&core), reporter, stop.clone()));
    let limit = core.limits.body_bytes_max;
    let drain = Duration::from_millis(core.limits.drain_timeout_ms);
    let service = GrpcInferenceServiceServer::new(Inference { core }).max_decoding_message_size(limit);
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(service)
        .add_service(health)
        .add_optional_service(reflection().and_then(|builder| builder.build_v1().ok()))
        // What grpcurl of 2023 and before speaks.
        .add_optional_service(reflection().and_then(|builder| builder.build_v1alpha().ok()));
    let mut stopped = stop.clone();
    let stopping = async move {
        let _ = stop.changed().await;
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = server.serve_with_incoming_shutdown(incoming, stopping);
    let drained = async move {
        let _ = stopped.changed().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the gRPC listener failed");
            }
        }
        () = drained => tracing::warn!("some gRPC calls did not finish before the drain timeout"),
    }
}

fn reflection() -> Option<tonic_reflection::server::Builder<'static>> {
    let builder = tonic_reflection::server::Builder::configure();
    let builder = builder.register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET);
    Some(builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

/// Keeps gRPC's own health service true.
async fn report(core: Arc<Core>, reporter: tonic_health::server::HealthReporter, mut stop: watch::Receiver<bool>) {
    let mut view = core.follow();
    loop {
        let is_ready = core.is_ready();
        if is_ready {
            reporter.set_serving::<GrpcInferenceServiceServer<Inference>>().await;
        } else {
            reporter.set_not_serving::<GrpcInferenceServiceServer<Inference>>().await;
        }
        let status =
            if is_ready { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            _ = stop.changed() => {
                reporter.set_not_serving::<GrpcInferenceServiceServer<Inference>>().await;
                return reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
            }
        }
    }
}

/// The service.
struct Inference {
    core: Arc<Core>,
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<pb::ServerLiveRequest>) -> Result<Response<pb::ServerLiveResponse>, Status> {
        Ok(Response::new(pb::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<pb::ServerReadyRequest>,
    ) -> Result<Response<pb::ServerReadyResponse>, Status> {
        Ok(Response::new(pb::ServerReadyResponse { ready: self.core.is_ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Result<Response<pb::ModelReadyResponse>, Status> {
        let request = request.into_inner();
        check_version(&request.version)?;
        self.core.charter(&request.name).map_err(status)?;
        Ok(Response::new(pb::ModelReadyResponse { ready: self.core.is_group_ready(&request.name) }))
    }

    async fn server_metadata(
        &self,
        _: Request<pb::ServerMetadataRequest>,
    ) -> Result<Response<pb::ServerMetadataResponse>, Status> {
        let version = env!("CARGO_PKG_VERSION").into();
        Ok(Response::new(pb::ServerMetadataResponse { name: "dropbear".into(), version, extensions: Vec::new() }))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Result<Response<pb::ModelMetadataResponse>, Status> {
        let request = request.into_inner();
        check_version(&request.version)?;
        let task = Task::of(&*self.core.charter(&request.name).map_err(status)?).map_err(status)?;
        let specs = |specs: Vec<TensorSpec>| {
            let spec = |spec: TensorSpec| pb::model_metadata_response::TensorMetadata {
                name: spec.name.into(),
                datatype: spec.datatype.into(),
                shape: spec.shape,
            };
            specs.into_iter().map(spec).collect()
        };
        Ok(Response::new(pb::ModelMetadataResponse {
            name: request.name,
            versions: vec![VERSION.into()],
            platform: PLATFORM.into(),
            inputs: specs(vec![task.input()]),
            outputs: specs(task.outputs()),
            properties: HashMap::new(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Result<Response<pb::ModelInferResponse>, Status> {
        let request = request.into_inner();
        check_version(&request.model_version)?;
        self.infer(request).await.map(Response::new)
    }
}

impl Inference {
    async fn infer(&self, mut request: pb::ModelInferRequest) -> Result<pb::ModelInferResponse, Status> {
        let charter = self.core.charter(&request.model_name).map_err(status)?;
        let task = Task::of(&charter).map_err(status)?;
        let wanted = wanted(task, &request.outputs)?;
        let texts = texts(&request.parameters);
        let options = options::options(|name| options::from_texts(&texts, name)).map_err(status)?;
        let seed_was_given = options.seed.is_some();
        let input = contents::input(task, request.inputs, request.raw_input_contents).map_err(status)?;
        let group = std::mem::take(&mut request.model_name);
        let ask = Ask { group: group.clone(), input: input.clone(), options };
        let answered = self.core.ask(ask).await.map_err(status)?;
        let answers = all_agreed(answered, |answered| item_json(answered, &self.core.market).to_string())?;
        let market = &self.core.market;
        let shown = Outputs { task, market, answers: &answers, echo: Some(input), seed_was_given };
        let (outputs, raw_output_contents) = shown.tensors(wanted).into_iter().map(contents::output).unzip();
        let text = |value| pb::InferParameter {
            parameter_choice: Some(pb::infer_parameter::ParameterChoice::StringParam(value)),
        };
        Ok(pb::ModelInferResponse {
            model_name: group,
            model_version: VERSION.into(),
            id: request.id,
            parameters: shown.parameters().into_iter().map(|(name, value)| (name, text(value))).collect(),
            outputs,
            raw_output_contents,
        })
    }
}

fn check_version(version: &str) -> Result<(), Status> {
    match version {
        "" | VERSION => Ok(()),
        _ => Err(Status::not_found(format!("groups are served under version {VERSION} alone"))),
    }
}

fn wanted(
    task: Task,
    outputs: &[pb::model_infer_request::InferRequestedOutputTensor],
) -> Result<impl Fn(&str) -> bool + use<>, Status> {
    let names: Vec<_> = outputs.iter().map(|output| output.name.clone()).collect();
    match names.iter().find(|name| !task.output_names().contains(&name.as_str())) {
        Some(_) => Err(Status::invalid_argument("an output is asked for that there is not; see the model's metadata")),
        None => Ok(move |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name)),
    }
}

/// Parameters as texts, by name; what is neither text, whole number nor flag is kept as what no option is.
fn texts(parameters: &HashMap<String, pb::InferParameter>) -> BTreeMap<String, String> {
    use pb::infer_parameter::ParameterChoice;
    let text = |(name, parameter): (&String, &pb::InferParameter)| {
        let text = match parameter.parameter_choice.as_ref()? {
            ParameterChoice::BoolParam(flag) => flag.to_string(),
            ParameterChoice::Int64Param(number) => number.to_string(),
            ParameterChoice::Uint64Param(number) => number.to_string(),
            ParameterChoice::StringParam(text) => text.clone(),
            ParameterChoice::DoubleParam(number) => number.to_string(),
        };
        Some((name.clone(), text))
    };
    parameters.iter().filter_map(text).collect()
}

fn all_agreed(answered: Vec<Answered>, describe: impl Fn(&Answered) -> String) -> Result<Vec<Answer>, Status> {
    let fails = |answered: &&Answered| !matches!(answered, Ok(answer) if answer.finding.is_agreed());
    match answered.iter().find(fails) {
        None => Ok(answered.into_iter().filter_map(Result::ok).collect()),
        Some(Err(unanswered)) => Err(status(unanswered.failure.clone())),
        Some(disagreed) => {
            let details = describe(disagreed).into_bytes();
            // Clients see messages; details, JSON as over REST, are for those who look.
            Err(Status::with_details(tonic::Code::FailedPrecondition, NO_AGREEMENT, details.into()))
        }
    }
}

/// A failure as gRPC has it. The message is never empty: some clients take an empty one for success.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn status(failure: Failure) -> Status {
    let message = failure.to_string();
    match failure {
        Failure::BadInput(_) | Failure::Unreadable(_) | Failure::EntryInvalid(_) => Status::invalid_argument(message),
        Failure::Refused(..) | Failure::EntryRefused(..) => Status::failed_precondition(message),
        Failure::UnknownGroup(_) => Status::not_found(message),
        Failure::Overloaded(_) => Status::resource_exhausted(message),
        Failure::Closed(_) => Status::already_exists(message),
        Failure::Unavailable(_) => Status::unavailable(message),
        Failure::Insufficient(..) | Failure::Unattested(_) => Status::deadline_exceeded(message),
        Failure::Committee(_) | Failure::Internal(_) => Status::internal(message),
    }
}
