//! Waiting: for a slot of a Deployment that takes only so many requests at once, and for a service that is not there yet.

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
use crate::index::{
    follow::Index,
    hold::Place,
    slots::{Slot, Waiting},
};

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

/// Returns the place when the service has started, or when the Deployment is another one than it was: either way, everything is
/// to be decided anew. Nothing of a body is read, nor is the caller asked for one.
///
/// # Errors
/// A [`Cut`](super::deadlines::Cut).
pub async fn until_started(
    place: Place,
    deadline: Deadline,
    index: &Index,
    record: &mut Record,
) -> Result<Place, Rejection> {
    // Who is told of changes has a place: of one that came before, nobody tells.
    if !deadline.permit().is_current(index) {
        return Ok(place);
    }
    let since = record.turns_away();
    deadline.arm(Timer::Start, deadline.permit().spec().settings.hold_timeout.saturating_sub(place.waited()));
    let turn = deadline.guard(poll_fn(|cx| place.poll_turn(cx))).await;
    record.waited_for_start(since.elapsed());
    turn?;
    Ok(place)
}
