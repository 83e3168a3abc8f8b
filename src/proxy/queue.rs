//! Waiting for a slot of a Deployment that takes only so many requests at once.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

use super::{
    deadlines::{Deadline, Timer},
    permit::Permit,
    record::Record,
    rejection::Rejection,
    upstream::request_writer::RequestWriter,
};
use crate::{
    http::network::Network,
    index::slots::{Asked, Slot},
};

/// What is to be waited for before the request is forwarded. `None`: nothing. Nothing of the body was read.
///
/// # Errors
/// [`Rejection::QueueFull`].
pub fn ask(permit: &Permit, from: Network) -> Result<Option<Asked>, Rejection> {
    match permit.ask_for_slot(from) {
        Some(Asked::Full) => Err(Rejection::QueueFull),
        asked => Ok(asked),
    }
}

/// The slot, once it is there. Who leaves meanwhile, or whose token ends, gives up their place. As the service cannot read
/// the body before, the caller is not asked for more of it than what has come with the head.
///
/// # Errors
/// [`Rejection::QueueFull`], a [`Cut`](super::deadlines::Cut), and what is wrong with the body.
pub async fn wait(
    asked: Asked,
    deadline: &Deadline,
    writer: &mut RequestWriter,
    record: &mut Record,
) -> Result<Slot, Rejection> {
    let waiting = match asked {
        Asked::Granted(slot) => return Ok(slot),
        Asked::Full => return Err(Rejection::QueueFull),
        Asked::Waits(waiting) => waiting,
    };
    let (since, mut waiting) = (Instant::now(), pin!(waiting));
    deadline.arm(Timer::Queue, deadline.permit().spec().settings.queue_timeout);
    let granted = poll_fn(|cx| {
        deadline.check(cx)?;
        if let Poll::Ready(Err(error)) = writer.poll_ahead(cx) {
            return Poll::Ready(Err(Rejection::from(error)));
        }
        waiting.as_mut().poll(cx).map(Ok)
    });
    let granted = granted.await;
    record.queued(since.elapsed());
    granted?.ok_or(Rejection::QueueFull)
}
