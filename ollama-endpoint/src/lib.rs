//! The ollama-endpoint: the shared memory of all agents, and the door to Ollama.
