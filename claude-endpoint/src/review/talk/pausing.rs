//! `/ai pause` and `/ai resume`: kept in the summary, where everybody sees it.

use shared::event::Comment;

use super::super::ending::Stop;
use super::super::publish::paused;
use super::super::{Journey, Review};

impl Review {
    pub(super) async fn pause(
        &self,
        journey: &mut Journey<'_>,
        comment: &Comment,
        is_paused: bool,
    ) -> Result<String, Stop> {
        if !comment.is_pull_request {
            return Ok("Only the reviews of a pull request can be paused.".to_owned());
        }
        let _alone = self.posting.lock().await;
        let (repository, number) = (journey.repository, comment.number);
        let now = self.github.recheck(repository, number, None).await?;
        let ours = now.reviews;
        let mut state = self.summary(repository, number, &ours).map(|(_, state)| state).unwrap_or_default();
        state.paused = is_paused.then(|| comment.author.clone());
        let (sentence, answer) = match is_paused {
            true => (paused(&comment.author), "Paused: pushes are not reviewed until `/ai resume`."),
            false => (
                "Reviews go on with the next push, or at once with `/ai review`.".to_owned(),
                "Reviews go on with the next push; `/ai review` makes one now.",
            ),
        };
        self.say(journey, (number, &now.head_sha), &ours, &state, &sentence).await?;
        Ok(answer.to_owned())
    }
}
