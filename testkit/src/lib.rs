//! Stateful stand-ins for GitHub, Anthropic and Ollama, and the journeys that use them.
