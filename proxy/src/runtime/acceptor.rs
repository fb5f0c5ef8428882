//! One listening socket of one worker: accepts until it is told to stop, and leaves nobody behind.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::worker::{Door, Worker};

/// Accepts until the door closes or the worker drains; then takes what the kernel has accepted
/// already, because closing a socket resets what waits in its queue.
pub(super) async fn accept(listener: Rc<TcpListener>, door: Rc<Door>, worker: Rc<Worker>) {
    let context = &worker.context;
    // Kept while nobody comes, or what ends meanwhile would use the rate up.
    let mut has_right = false;
    while !context.draining.get() && !door.gate.draining.get() {
        if !worker.has_room(&door) {
            context.changed.notified().await;
            continue;
        }
        if !has_right && let Err(wait) = worker.may_accept(&door) {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = context.changed.notified() => {}
            }
            continue;
        }
        has_right = true;
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    has_right = false;
                    worker.serve(stream, client, &door);
                }
                Err(error) => {
                    if worker.complain(&error) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            () = context.changed.notified() => {}
        }
    }
    let Some(listener) = Rc::into_inner(listener) else {
        // Copies are made and dropped between two awaits.
        tracing::error!("a listener is still in use elsewhere");
        return;
    };
    if let Err(error) = take_waiting(listener, &door, &worker) {
        tracing::warn!(%error, "connections that waited to be accepted may be lost");
    }
}

/// Asks the kernel itself: the event loop may not have heard of the latest connections yet.
fn take_waiting(listener: TcpListener, door: &Rc<Door>, worker: &Worker) -> io::Result<()> {
    let listener = listener.into_std()?;
    for _ in 0..WAITING_MOST {
        let (stream, client) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        worker.serve(TcpStream::from_std(stream)?, client, door);
    }
    Ok(())
}

/// Bounds the last round of accepting; above the limit on connections they are told so.
const WAITING_MOST: usize = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
