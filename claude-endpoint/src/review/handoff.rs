//! Jules is asked to fix what the review of its pull request found: one comment for each reviewed head.
//!
//! It acts only for the person who started its task, so that person's token may be another one than ours.

use super::ending::Stop;
use super::made::{Made, subject_of_pull};
use super::pull::Head;
use super::{Journey, Review};
use crate::config::{GithubSettings, HandoffSettings};
use crate::github::{Github, GithubError};
use crate::marker::Bond;
use crate::provenance::{self, Provenance};

/// By whom Jules is asked.
#[derive(Debug, Default)]
pub enum Handoff {
    /// By nobody.
    #[default]
    Off,
    /// As whom we review.
    Ourselves,
    /// By a person.
    Person(Box<Github>),
}

impl Handoff {
    /// As it is set.
    ///
    /// # Errors
    /// As for [`Github::new`].
    pub fn new(settings: &GithubSettings) -> Result<Self, octocrab::Error> {
        Ok(match &settings.handoff {
            HandoffSettings::Off => Self::Off,
            HandoffSettings::Ourselves => Self::Ourselves,
            HandoffSettings::Person(token) => {
                let settings = GithubSettings { token: Some(token.clone()), app: None, ..settings.clone() };
                Self::Person(Box::new(Github::new(&settings)?))
            }
        })
    }
}

impl Review {
    /// Asks Jules, once for this head. What it costs if this fails is a hint, not the review.
    pub(super) async fn hand_over(
        &self,
        journey: &Journey<'_>,
        Head { pr, .. }: Head<'_>,
        made: &mut Made,
    ) -> Result<(), Stop> {
        let person = match &self.handoff {
            Handoff::Off => return Ok(()),
            Handoff::Ourselves => &self.github,
            Handoff::Person(github) => github,
        };
        let review = made.posted.as_ref().map(|posted| posted.url.as_str());
        let Some(text) = self.request(made, review) else { return Ok(()) };
        let subject = format!("{}/handoff", subject_of_pull(pr.number));
        let bond = Bond { repository: journey.repository, subject: &subject, head: &made.head };
        let asking = async {
            let _alone = self.posting.lock().await;
            let before = person.own_issue_comments(bond.repository, pr.number, None).await?;
            if let Some(before) = before.into_iter().find(|comment| self.marker.is_in(&comment.body, bond)) {
                return Ok(before.url);
            }
            let body = format!("{text}\n\n{}", self.marker.make(bond, &journey.event.id, ""));
            person.issue_comment(bond.repository, pr.number, &body).await.map(|posted| posted.url)
        };
        made.handed_over = Some(match asking.await {
            Ok(url) => url,
            Err(
                error @ (GithubError::Unavailable(_)
                | GithubError::Broken(..)
                | GithubError::RateLimited { .. }),
            ) => return Err(Stop::Github(error)),
            Err(error) => {
                tracing::warn!(%error, "Jules is not asked; see HANDOFF_TOKEN");
                format!("not asked: {error}; see HANDOFF_TOKEN")
            }
        });
        journey.keep(Some(made)).await
    }

    /// What Jules is to be told, if anything. Its footer is text that anybody can write, so it is believed only where its
    /// branch is in the repository; and what it pushes after the last round nobody would review.
    fn request(&self, made: &Made, review: Option<&str>) -> Option<String> {
        let is_its = matches!(made.provenance, Some(Provenance::Jules { .. }));
        let has_rounds = made.state.rounds < self.limits.agent_rounds;
        let is_wanted =
            is_its && has_rounds && made.is_inside && made.handed_over.is_none() && review.is_some();
        provenance::hand_off(made.state.open().filter(|_| is_wanted), review)
    }
}
