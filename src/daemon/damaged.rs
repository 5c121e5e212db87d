//! The daemon of a damaged database: it says so to whoever asks, with what to do, and does nothing else. No
//! run is started and no byte of the database written, so that whatever can be saved can be saved.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, warn};

use crate::config;
use crate::config::last_good;
use crate::daemon::{Failure, Options, boot};
use crate::http;
use crate::store::OpenError;
use crate::sys::lock::Lock;

/// Until it is told to stop.
pub(super) async fn stand_by(options: &Options, damage: &OpenError) -> Result<(), Failure> {
    let layout = &options.layout;
    let lock = Lock::take(&layout.lock()).map_err(Failure::io("cannot lock"))?;
    let Some(_lock) = lock else { return Err(Failure::Locked(layout.lock())) };
    error!("{damage}");
    let last_good = last_good::read(&layout.last_good());
    let listen = config::load(layout, &options.trust, &last_good).catalog.settings.listen;
    let (pages, control, _) = boot::listen(layout, &listen).await?;
    let (stop, stopped) = watch::channel(false);
    let pages = tokio::spawn(http::serve_damaged_pages(pages, boot::until(stopped.clone())));
    let control = tokio::spawn(http::serve_damaged_control(control, damage.to_string(), boot::until(stopped)));
    tell(&[NotifyState::Ready, NotifyState::Status("the database is damaged: nothing is started (shipbell status)")]);
    wait().await?;
    tell(&[NotifyState::Stopping]);
    stop.send_replace(true);
    for served in [pages.await.err(), control.await.err()].into_iter().flatten() {
        warn!("{served}");
    }
    Ok(())
}

async fn wait() -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::io("cannot take SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::io("cannot take SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::io("cannot take SIGINT"))?;
    let watchdog = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |limit| limit / 2);
    let mut beat = tokio::time::interval(watchdog);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => warn!("the database is damaged: nothing is reloaded"),
            _ = beat.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
