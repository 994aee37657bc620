//! What a pull request is shown: one review with its inline comments, the summary updated in place, fixed threads
//! resolved. Everything is looked up before it is made: it may be there although we do not know, since the answer was
//! lost or the process killed.

use super::context::note;
use super::ending::{self, Stop};
use super::made::{Made, Posted, subject_of_pull};
use super::pull::{Head, Stand};
use super::{Journey, Review};
use crate::anchor::{InlineComment, Kept};
use crate::earlier::{State, Told};
use crate::github::{GithubError, NewComment, OwnReview};
use crate::marker::Bond;
use crate::{render, summary};

/// What a summary says while there are no reviews.
pub(super) fn paused(by: &str) -> String {
    format!("Reviews of this pull request are paused by {by}. `/ai resume` goes on.")
}

impl Review {
    pub(super) async fn publish(
        &self,
        journey: &mut Journey<'_>,
        head: Head<'_>,
        made: &mut Made,
    ) -> Result<(), Stop> {
        if made.is_published || !self.github.can_post() {
            return Ok(());
        }
        let _alone = self.posting.lock().await;
        let (repository, number) = (journey.repository, head.pr.number);
        let asking = self.github.recheck(repository, number, None);
        let now = journey.steps.run("recheck", "pull request read again", asking).await?;
        let (stand, ours) = (Stand::from(&now), now.reviews.as_slice());
        match self.reviewed_before(journey, head, ours) {
            Some(url) => made.posted.get_or_insert(Posted { url, refused_inline: false }),
            None => {
                self.wanted(journey, stand, head)?;
                let posting = self.post(journey.event.id.as_str(), head, ours, made);
                let posted = journey.steps.run("post", "posted", posting).await?;
                made.posted.insert(posted)
            }
        };
        journey.keep(Some(made)).await?;
        self.comment_on_files(journey, head, made).await?;
        self.update_summary(journey, head, ours, made).await?;
        self.resolve(journey, made).await?;
        made.is_published = true;
        journey.keep(Some(made)).await
    }

    /// Our review of this very head, if there is one; one that a person asks for again is known by its delivery, too.
    pub(super) fn reviewed_before(
        &self,
        journey: &Journey<'_>,
        head: Head<'_>,
        ours: &[OwnReview],
    ) -> Option<String> {
        let number = head.pr.number;
        let subjects = [subject_of_pull(number), summary::subject(number)];
        let is_it = |review: &&OwnReview| {
            subjects.iter().any(|subject| {
                let mark = self.marker.find(&review.body, journey.repository, subject);
                mark.is_some_and(|mark| head.is_of(&mark, &journey.event.id))
            })
        };
        ours.iter().find(is_it).map(|review| review.url.clone())
    }

    /// The first review carries the summary as its body. A later one is made only for comments on lines, and the
    /// summary alone is updated where there are none.
    async fn post(
        &self,
        delivery: &str,
        head: Head<'_>,
        ours: &[OwnReview],
        made: &mut Made,
    ) -> Result<Posted, GithubError> {
        match self.try_post(delivery, head, ours, made).await {
            Err(GithubError::Unprocessable(reason)) if !made.examined.anchored.inline.is_empty() => {
                tracing::warn!(
                    delivery,
                    reason,
                    "GitHub refused the inline comments; all findings go into the body"
                );
                made.give_up_inline();
                let posted = self.try_post(delivery, head, ours, made).await?;
                Ok(Posted { refused_inline: true, ..posted })
            }
            posted => posted,
        }
    }

    async fn try_post(
        &self,
        delivery: &str,
        Head { pr, .. }: Head<'_>,
        ours: &[OwnReview],
        made: &Made,
    ) -> Result<Posted, GithubError> {
        let subject = subject_of_pull(pr.number);
        let bond = Bond { repository: &made.repository, subject: &subject, head: &pr.head_sha };
        let plain = self.marker.make(bond, delivery, "");
        let comments: Vec<NewComment> =
            made.inline().map(|(comment, told)| self.inline(bond, delivery, comment, told)).collect();
        let body = match self.summary(bond.repository, pr.number, ours) {
            None => self.summary_of(bond, pr.number, delivery, made),
            Some((summary, _)) if comments.is_empty() => {
                return Ok(Posted { url: summary.url.clone(), refused_inline: false });
            }
            Some((summary, _)) => render::later(comments.len(), &pr.head_sha, &summary.url, &plain),
        };
        let posted =
            self.github.create_review(bond.repository, pr.number, &pr.head_sha, &body, &comments).await?;
        Ok(Posted { url: posted.url, refused_inline: false })
    }

    /// The body of the summary: it is known as the review of its head, and as the pull request's summary.
    fn summary_of(&self, bond: Bond<'_>, number: u64, delivery: &str, made: &Made) -> String {
        let plain = self.marker.make(bond, delivery, "");
        let seal = summary::seal(&self.marker, bond.repository, number, delivery, &made.state);
        made.body(Some(&made.state), &format!("{plain}\n{seal}"))
    }

    fn inline(&self, bond: Bond<'_>, delivery: &str, comment: &InlineComment, told: &Told) -> NewComment {
        let marker = self.marker.make(bond, delivery, &note(told));
        NewComment {
            path: comment.path.clone(),
            side: comment.side,
            start_line: comment.start_line,
            line: comment.line,
            body: render::comment(comment, &marker),
        }
    }

    /// Findings that belong to a file but to no line of the diff, one by one, as GitHub wants it.
    async fn comment_on_files(
        &self,
        journey: &Journey<'_>,
        Head { pr, .. }: Head<'_>,
        made: &mut Made,
    ) -> Result<(), Stop> {
        if made.files_told >= made.files().count() {
            return Ok(());
        }
        // only where an earlier attempt came so far can there be anything to find
        let is_resumed = std::mem::replace(&mut made.files_begun, true);
        journey.keep(Some(made)).await?;
        let subject = subject_of_pull(pr.number);
        let bond = Bond { repository: journey.repository, subject: &subject, head: &pr.head_sha };
        let files: Vec<(Kept, Told)> =
            made.files().skip(made.files_told).map(|(kept, told)| (kept.clone(), told.clone())).collect();
        for (kept, told) in files {
            if !is_resumed || !self.is_told(bond, pr.number, &told).await? {
                let marker = self.marker.make(bond, &journey.event.id, &note(&told));
                let (path, body) = (kept.finding.path.as_str(), render::on_file(&kept, &marker));
                match self.github.file_comment(bond.repository, pr.number, bond.head, path, &body).await {
                    Ok(_) => {}
                    Err(GithubError::Unprocessable(reason)) => {
                        tracing::warn!(
                            path,
                            reason,
                            "GitHub takes no comment on the file; it goes into the body"
                        );
                        made.give_up_file(made.files_told);
                        journey.keep(Some(made)).await?;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            made.files_told += 1;
            journey.keep(Some(made)).await?;
        }
        Ok(())
    }

    /// Whether the comment is there.
    async fn is_told(&self, bond: Bond<'_>, number: u64, told: &Told) -> Result<bool, GithubError> {
        let wanted = note(told);
        let is_it = |body: &str| {
            let mark = self.marker.find(body, bond.repository, bond.subject);
            mark.is_some_and(|mark| mark.note == wanted && mark.head == bond.head)
        };
        Ok(self.github.find_comment(bond.repository, number, is_it).await?.is_some())
    }

    /// The summary as it is after this review, in the place of the one before.
    async fn update_summary(
        &self,
        journey: &mut Journey<'_>,
        head: Head<'_>,
        ours: &[OwnReview],
        made: &mut Made,
    ) -> Result<(), Stop> {
        let (repository, number) = (journey.repository, head.pr.number);
        // the first review is the summary, and was not there when ours were looked for
        let again = match made.is_summary_behind && self.summary(repository, number, ours).is_none() {
            true => self.github.recheck(repository, number, None).await?.reviews,
            false => vec![],
        };
        let ours = if again.is_empty() { ours } else { &again };
        let Some((summary, known)) = self.summary(repository, number, ours) else { return Ok(()) };
        // somebody may have paused the reviews while this one was made
        made.state.paused = known.paused;
        made.notes.extend(made.state.paused.as_ref().map(|by| paused(by)));
        let mark = self.marker.find(&summary.body, repository, &summary::subject(number));
        if !made.is_summary_behind && mark.is_some_and(|mark| head.is_of(&mark, &journey.event.id)) {
            return Ok(());
        }
        let subject = subject_of_pull(number);
        let bond = Bond { repository, subject: &subject, head: &head.pr.head_sha };
        let body = self.summary_of(bond, number, &journey.event.id, made);
        let updating = self.github.update_review(repository, number, summary.id, &body);
        journey.steps.run("summary", "summary updated", updating).await?;
        made.is_summary_behind = false;
        Ok(())
    }

    /// A thread whose finding is fixed is closed. Where the token may not, the summary says it is fixed all the same.
    async fn resolve(&self, journey: &mut Journey<'_>, made: &mut Made) -> Result<(), GithubError> {
        if made.to_resolve.is_empty() || !self.limits.resolve_fixed {
            return Ok(());
        }
        let resolving = self.github.resolve_threads(&made.repository, &made.to_resolve);
        match journey.steps.run("resolve", "threads resolved", resolving).await {
            Ok(resolved) => made.resolved = resolved.len(),
            Err(error) if ending::may_pass(&error, journey.lease.job().attempt) => return Err(error),
            Err(error) => tracing::info!(%error, "the threads of what was fixed stay open"),
        }
        Ok(())
    }

    /// There are no more reviews for now: the summary says why, once.
    pub(super) async fn halt(
        &self,
        journey: &mut Journey<'_>,
        head: Head<'_>,
        ours: &[OwnReview],
        state: &State,
        reason: String,
    ) -> Stop {
        if let Err(error) = self.say(journey, (head.pr.number, &head.pr.head_sha), ours, state, &reason).await
        {
            return error.into();
        }
        let mut finish = ending::skipped(reason);
        finish.detail.insert("stopped".to_owned(), true.into());
        Stop::Finish(finish)
    }

    /// Puts a sentence of ours, and where the findings stand, in the place of the summary; makes one where there is none.
    pub(super) async fn say(
        &self,
        journey: &mut Journey<'_>,
        (number, head): (u64, &str),
        ours: &[OwnReview],
        state: &State,
        sentence: &str,
    ) -> Result<(), GithubError> {
        if !self.github.can_post() {
            return Ok(());
        }
        let (repository, delivery) = (journey.repository, journey.event.id.as_str());
        let seal = summary::seal(&self.marker, repository, number, delivery, state);
        let summary = self.summary(repository, number, ours);
        let before = summary.as_ref().map(|(summary, _)| summary.body.as_str());
        let body = summary::notice(sentence, state, before, &seal);
        match summary {
            Some((summary, known)) if known == *state && summary.body.contains(sentence) => Ok(()),
            Some((summary, _)) => {
                self.github.update_review(repository, number, summary.id, &body).await.map(drop)
            }
            None => self.github.create_review(repository, number, head, &body, &[]).await.map(drop),
        }
    }
}
