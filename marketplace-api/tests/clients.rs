//! Unmodified clients of others against the gateway. Each needs its own tool, named by an environment variable, and is
//! skipped, visibly, where that is not set.

mod market;

use std::process::Command;

use market::{Market, picture};

/// Runs a command in a thread of its own, so that the market goes on; gives its output.
async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The tool that `variable` names.
fn tool(variable: &str) -> Option<String> {
    let tool = std::env::var(variable).ok();
    if tool.is_none() {
        eprintln!("SKIPPED: {variable} is not set");
    }
    tool
}

/// A Python with a client library: HTTP and gRPC, JSON and binary tensors both ways, certificates verified here.
async fn python_client(variable: &str, script: &str) {
    let Some(python) = tool(variable) else { return };
    let market = Market::honest().await;
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo.png");
    std::fs::write(&photo, picture([7; 4])).unwrap();
    let mut command = Command::new(python);
    let script = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    command.arg(script).arg(market.gateway.http_address().to_string());
    command.arg(market.gateway.grpc_address().unwrap().to_string()).arg(&photo);
    let output = run(command).await;
    let certificates: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("certificate ")).collect();
    assert!(!certificates.is_empty(), "{output}");
    for certificate in certificates {
        assert_eq!(market.verify(&certificate.into()).class(), Some(7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tritonclient() {
    python_client("DROPBEAR_TEST_TRITONCLIENT_PYTHON", "triton.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kserve() {
    python_client("DROPBEAR_TEST_KSERVE_PYTHON", "kserve_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl() {
    let Some(grpcurl) = tool("DROPBEAR_TEST_GRPCURL") else { return };
    let market = Market::honest().await;
    let address = market.gateway.grpc_address().unwrap().to_string();
    let call = |arguments: &[&str]| {
        let mut command = Command::new(&grpcurl);
        command.arg("-plaintext").args(arguments);
        run(command)
    };
    assert!(call(&[&address, "list"]).await.contains("inference.GRPCInferenceService"));
    let described = call(&[&address, "describe", "inference.GRPCInferenceService"]).await;
    assert!(described.contains("rpc ModelInfer"), "{described}");
    assert!(call(&[&address, "grpc.health.v1.Health/Check"]).await.contains("SERVING"));
    let metadata = call(&["-d", r#"{"name":"imagenet"}"#, &address, "inference.GRPCInferenceService/ModelMetadata"]);
    assert!(metadata.await.contains("tally"));
}
