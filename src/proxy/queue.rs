//! Waiting for a slot of a Deployment that takes only so many requests at once.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

use super::{
    deadlines::{Deadline, Timer},
    record::Record,
    rejection::Rejection,
    request_body::RequestBody,
};
use crate::index::slots::{Slot, Waiting};

/// The slot, once it is there. Who leaves meanwhile, or whose token ends, gives up their place. As the service cannot read
/// the body before, the caller is not asked for more of it than what has come with the head. `deadline` is that of the
/// permit which the request had when it began to wait: after it, everything is to be decided anew.
///
/// # Errors
/// A [`Cut`](super::deadlines::Cut), and what is wrong with the body.
pub async fn wait(
    waiting: Waiting,
    deadline: Deadline,
    body: Option<&mut RequestBody>,
    record: &mut Record,
) -> Result<Slot, Rejection> {
    let (since, mut waiting, mut body) = (Instant::now(), pin!(waiting), body);
    deadline.arm(Timer::Queue, deadline.permit().spec().settings.queue_timeout);
    let granted = poll_fn(|cx| {
        deadline.check(cx)?;
        if let Some(body) = &mut body
            && let Poll::Ready(reason) = body.poll_ahead(cx)
        {
            return Poll::Ready(Err(Rejection::from(reason)));
        }
        waiting.as_mut().poll(cx).map(Ok)
    });
    let granted = granted.await;
    record.queued(since.elapsed());
    granted?.ok_or(Rejection::QueueFull)
}
