//! What a client calls itself. It says so once, when it introduces itself (`initialize`), and no session is kept here in
//! which that could be remembered: the id of the session that it gets, and sends with every request, is the name itself.
//! So a restart of the service ends no session. The newest protocol has no introduction; there each request has the name.
//!
//! The name is nobody's proof of anything: it is what a memory says of who added it, unless the call itself says.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use http::request::Parts;
use rmcp::RoleServer;
use rmcp::service::RequestContext;
use url::form_urlencoded;

/// The header in which a session's id travels.
pub(super) const SESSION: &str = "mcp-session-id";

/// The longest name in characters; what is longer is cut.
const LONGEST: usize = 100;

/// A place in a request for the name of the client that introduces itself with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Newcomer(Arc<OnceLock<String>>);

impl Newcomer {
    /// The one of this request.
    pub(super) fn of(parts: &Parts) -> Option<&Self> {
        parts.extensions.get()
    }

    /// Notes its name.
    pub(super) fn is(&self, name: &str) {
        let _ = self.0.set(tidy(name));
    }

    /// The id of its session, if this request introduced a client.
    pub(super) fn session(&self) -> Option<HeaderValue> {
        let name: String = form_urlencoded::byte_serialize(self.0.get()?.as_bytes()).collect();
        HeaderValue::from_str(&format!("{name}/{}", uuid::Uuid::new_v4())).ok()
    }
}

/// What the client that sent this request calls itself.
pub(super) fn name(context: &RequestContext<RoleServer>) -> Option<String> {
    let own = context.meta.client_info().map(|client| tidy(&client.name));
    let parts = context.extensions.get::<Parts>();
    own.or_else(|| of_session(parts?.headers.get(SESSION)?)).filter(|name| !name.is_empty())
}

fn of_session(id: &HeaderValue) -> Option<String> {
    let (name, _) = id.to_str().ok()?.split_once('/')?;
    form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| tidy(&name))
}

/// One line of a sensible length, as an update's `agent` must be.
fn tidy(name: &str) -> String {
    let name: String = name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    name.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_session_brings_the_name_back(name in any::<String>()) {
            let newcomer = Newcomer::default();
            prop_assert!(newcomer.session().is_none());
            newcomer.is(&name);
            let id = newcomer.session().unwrap();
            prop_assert!(id.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte)));
            prop_assert_eq!(of_session(&id).unwrap_or_default(), tidy(&name));
        }

        #[test]
        fn any_session_id_is_read(id in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(id) = HeaderValue::from_bytes(&id) {
                let _ = of_session(&id);
            }
        }
    }
}
