//! The Open Inference Protocol over gRPC.

mod market;

use bytes::Bytes;
use dropbear_wire::inference as pb;
use dropbear_wire::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use dropbear_wire::inference::infer_parameter::ParameterChoice;
use market::{Market, picture};
use tonic::Code;
use tonic::transport::Channel;

async fn client(market: &Market) -> GrpcInferenceServiceClient<Channel> {
    let address = market.gateway.grpc_address().unwrap();
    GrpcInferenceServiceClient::connect(format!("http://{address}")).await.unwrap()
}

fn ask(picture: &[u8]) -> pb::ModelInferRequest {
    let input = pb::model_infer_request::InferInputTensor {
        name: "image".into(),
        datatype: "BYTES".into(),
        shape: vec![1],
        ..Default::default()
    };
    let mut raw = (picture.len() as u32).to_le_bytes().to_vec();
    raw.extend(picture);
    pb::ModelInferRequest {
        model_name: "imagenet".into(),
        id: "7".into(),
        inputs: vec![input],
        raw_input_contents: vec![raw.into()],
        ..Default::default()
    }
}

fn text(value: &str) -> pb::InferParameter {
    pb::InferParameter { parameter_choice: Some(ParameterChoice::StringParam(value.into())) }
}

#[tokio::test]
async fn the_same_answer_as_over_rest() {
    let market = Market::honest().await;
    let mut client = client(&market).await;
    assert!(client.server_live(pb::ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(pb::ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let named = pb::ModelMetadataRequest { name: "imagenet".into(), version: "1".into() };
    let metadata = client.model_metadata(named).await.unwrap().into_inner();
    let outputs: Vec<_> = metadata.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(outputs, ["label", "class", "tally"]);

    let reply = client.model_infer(ask(&picture([7; 4]))).await.unwrap().into_inner();
    assert_eq!((reply.id.as_str(), reply.outputs[1].name.as_str()), ("7", "class"));
    assert_eq!(reply.raw_output_contents[0], Bytes::from_static(b"\x07\x00\x00\x00thing 7"));
    assert_eq!(reply.raw_output_contents[1], 7i64.to_le_bytes().as_slice());
    let certificate = match &reply.parameters["certificate.0"].parameter_choice {
        Some(ParameterChoice::StringParam(certificate)) => serde_json::Value::from(certificate.as_str()),
        other => panic!("{other:?}"),
    };
    assert_eq!(market.verify(&certificate).class(), Some(7));
}

#[tokio::test]
async fn what_is_refused_has_a_code_and_a_message() {
    let market = Market::honest().await;
    let mut client = client(&market).await;
    let unknown = pb::ModelInferRequest { model_name: "nobody".into(), ..ask(&picture([7; 4])) };
    let several = pb::ModelInferRequest { raw_input_contents: vec![Bytes::new(); 2], ..ask(&picture([7; 4])) };
    let mut option = ask(&picture([7; 4]));
    option.parameters.insert("assurance".into(), text("certain"));
    for (request, code) in [
        (unknown, Code::NotFound),
        (several, Code::InvalidArgument),
        (option, Code::InvalidArgument),
        (ask(b"no picture"), Code::InvalidArgument),
        (ask(&picture([2, 2, 5, 7])), Code::FailedPrecondition),
    ] {
        let status = client.model_infer(request).await.unwrap_err();
        assert!(status.code() == code && !status.message().is_empty(), "{status:?}");
    }
    let mut supported = ask(&picture([2, 2, 5, 7]));
    supported.parameters.insert("assurance".into(), text("supported"));
    assert!(client.model_infer(supported).await.is_ok());
}
