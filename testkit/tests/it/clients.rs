//! Official clients against the ollama-endpoint, unchanged: the Python packages of Ollama and OpenAI through the proxy.

use testkit::scenario::Scenario;

use crate::support::{MEMORY_TOKEN, World, in_process, tools};

/// Runs a client of `testkit/python` against a proxy in front of the stand-in for Ollama.
async fn through_the_proxy(script: &str) {
    let Some(python) = tools::python() else { return };
    let world = World::start(&Scenario::default()).await;
    let endpoint = in_process::ollama(world.ollama_flags(), 0).await;
    let mut client = python.script(script);
    client.args([&endpoint.url, MEMORY_TOKEN]);
    assert_eq!(tools::run(client).await, "everything is as it should be\n");
    let passed_on = world.ollama.calls();
    let forbidden = ["/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete"];
    assert!(!passed_on.is_empty() && !passed_on.iter().any(|call| forbidden.contains(&call.path.as_str())));
    endpoint.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ollamas_python_package() {
    through_the_proxy("ollama_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_python_package() {
    through_the_proxy("openai_client.py").await;
}
