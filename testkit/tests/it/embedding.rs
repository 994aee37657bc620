//! The memory with a real embedding model behind the stand-in for Ollama.

use serde_json::{Value, json};
use testkit::{embedding::RealModel, scenario::Scenario};

use crate::support::{MEMORY_TOKEN, World, in_process, tools, until};

const REPOSITORY: &str = "octo/harbour";

/// A world whose Ollama has the real model too; `None` where it cannot be installed.
async fn world() -> Option<World> {
    let python = tools::python()?;
    let world = World::start(&Scenario::default()).await;
    world.ollama.embed_with(RealModel::start(&python).await.unwrap());
    Some(world)
}

async fn embed(world: &World, body: Value) -> (u16, Value) {
    let answer = world.http.post(world.ollama.url() + "/api/embed").json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn vectors(world: &World, body: Value) -> Vec<Vec<f32>> {
    let (status, answer) = embed(world, body).await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_value(answer["embeddings"].clone()).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_models_vectors_are_those_of_a_real_ollama() {
    let Some(world) = world().await else { return };
    // What Ollama 0.33 answered with its own `all-minilm` for the same request.
    let captured =
        [-0.2188289, 0.20829244, -0.27701345, 0.2057562, -0.4862579, 0.19726452, 0.70333576, -0.14005323];
    let asked = json!({"model": "all-minilm", "input": "a", "dimensions": 8});
    let ours = vectors(&world, asked).await.remove(0);
    assert!(ours.iter().zip(captured).all(|(ours, theirs)| (ours - theirs).abs() < 1e-3), "{ours:?}");

    let texts = [
        "The database was gone after the disk ran full.",
        "We lost our store when there was no space left.",
        "Bananas are yellow.",
    ];
    let found = vectors(&world, json!({"model": "all-minilm", "input": texts})).await;
    assert!(found.iter().all(|vector| vector.len() == 384 && (cosine(vector, vector) - 1.0).abs() < 1e-4));
    let (related, unrelated) = (cosine(&found[0], &found[1]), cosine(&found[0], &found[2]));
    assert!(related > 0.4 && unrelated < 0.15, "{related} {unrelated}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_long_texts_and_other_models_fare_as_at_ollama() {
    let Some(world) = world().await else { return };
    let long = "word ".repeat(600);
    let (status, refused) =
        embed(&world, json!({"model": "all-minilm", "input": ["short", long], "truncate": false})).await;
    let too_long = json!({"error": "the input length exceeds the context length"});
    assert_eq!((status, refused), (400, too_long));
    let cut = vectors(&world, json!({"model": "all-minilm", "input": [long, "word ".repeat(510)]})).await;
    assert!(cosine(&cut[0], &cut[1]) > 0.9999, "what fits is what counts");
    assert_eq!(embed(&world, json!({"model": "all-minilm"})).await.1["embeddings"], json!([]));
    assert_eq!(embed(&world, json!({"model": "nope", "input": "x"})).await.0, 404);
    assert_eq!(vectors(&world, json!({"model": "nomic-embed-text", "input": "x"})).await[0].len(), 768);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_in_other_words_is_answered() {
    let Some(world) = world().await else { return };
    let mut flags = world.ollama_flags();
    flags.extend(["--ollama-embed-model", "all-minilm"].map(str::to_owned));
    let memory = in_process::ollama(flags, 0).await;
    let known = [
        "The nightly backup failed because the volume had run full; snapshots older than a week are now pruned.",
        "Passwords are hashed with argon2id; bcrypt was dropped in the spring.",
        "The checkout button is green on every page, by decision of the design team.",
        "Retries of webhooks wait with exponential backoff and jitter.",
        "The parser treats tabs as four columns.",
    ];
    for text in known {
        let update = json!({"repository": REPOSITORY, "context": text, "kind": "decision"});
        let answer = world.http.post(format!("{}/memory-update", memory.url)).bearer_auth(MEMORY_TOKEN);
        assert_eq!(answer.json(&update).send().await.unwrap().status(), 202);
    }
    let get = async |path: &str, query: &[(&str, &str)]| -> Value {
        let request = world.http.get(memory.url.clone() + path).bearer_auth(MEMORY_TOKEN).query(query);
        request.send().await.unwrap().json().await.unwrap()
    };
    let embedded = until(async || get("/memory/stats", &[]).await["vectors"]["with"] == known.len()).await;
    assert!(embedded, "{}", get("/memory/stats", &[]).await);

    for (question, answer) in [
        ("Why did saving copies overnight break?", 0),
        ("How are user credentials stored securely?", 1),
        ("What colour do customers click to pay?", 2),
    ] {
        let asked = [("repository", REPOSITORY), ("q", question)];
        let by_words = get("/memory/search", &[asked[0], asked[1], ("mode", "lexical")]).await;
        assert!(!by_words.to_string().contains(known[answer]), "{question}: {by_words:#}");
        let found = get("/memory/search", &asked).await;
        assert_eq!(found["mode"], "hybrid", "{found}");
        let first = &found["results"][0];
        assert_eq!(first["text"], known[answer], "{question}: {found:#}");
        assert_eq!((&first["lexical_rank"], &first["vector_rank"]), (&Value::Null, &json!(1)), "{question}");
    }
    memory.stop().await;
}
