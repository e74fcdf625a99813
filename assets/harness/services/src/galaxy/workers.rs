//! The loops that route notifications and deliver mail.

use std::time::Duration;

use super::mail::{Address, Mail, NotAnAddress, Smtp};
use super::push::Hub;
use super::store::{Store, StoreError, TakenMail};

const MAX_ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Turns notifications into mail to the admin, and tells the listeners.
pub async fn route_notifications(store: Store, hub: Hub, admin: Address, interval: Duration) {
    let mut ticks = ticker(interval);
    loop {
        ticks.tick().await;
        match store.route_notifications(&admin).await {
            Ok(routed) => routed
                .iter()
                .for_each(|notification| hub.notification(notification)),
            Err(error) => tracing::error!(%error, "notification worker"),
        }
    }
}

/// Delivers what is due; what cannot be delivered is tried again, later each time.
pub async fn deliver_mail(store: Store, smtp: Smtp, interval: Duration) {
    let mut ticks = ticker(interval);
    loop {
        ticks.tick().await;
        if let Err(error) = deliver_due(&store, &smtp).await {
            tracing::error!(%error, "mail worker");
        }
    }
}

fn ticker(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

async fn deliver_due(store: &Store, smtp: &Smtp) -> Result<(), StoreError> {
    while let Some(taken) = store.take_mail().await? {
        let failure = match prepared(&taken) {
            Err(error) => Some((error.to_string(), None)),
            Ok(mail) => match smtp.send(&mail, &taken.id.to_string(), &taken.date).await {
                Ok(()) => None,
                Err(error) => Some((error.to_string(), pause_after(taken.attempts))),
            },
        };
        match failure {
            None => {
                tracing::info!(to = taken.recipient, subject = taken.subject, "mail sent");
                store.mail_was_sent(taken.id).await?;
            }
            Some((error, retry_in)) => {
                tracing::warn!(to = taken.recipient, error, ?retry_in, "mail not sent");
                store.mail_failed(taken.id, &error, retry_in).await?;
            }
        }
    }
    Ok(())
}

fn prepared(taken: &TakenMail) -> Result<Mail, NotAnAddress> {
    Ok(Mail {
        to: taken.recipient.parse()?,
        subject: taken.subject.clone(),
        body: taken.body.clone(),
    })
}

/// How long to wait after the failed attempt of this number, the first being 1; none gives up.
fn pause_after(attempt: i32) -> Option<Duration> {
    let attempt = u32::try_from(attempt)
        .ok()
        .filter(|attempt| (1..MAX_ATTEMPTS).contains(attempt))?;
    Some((FIRST_PAUSE * 2_u32.pow(attempt - 1)).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end() {
        let seconds: Vec<_> = (1..=8)
            .map(|n| pause_after(n).map(|pause| pause.as_secs()))
            .collect();
        let expected = [1, 2, 4, 8, 16, 32, 60].map(Some);
        assert_eq!(seconds, [expected.as_slice(), &[None]].concat());
        assert_eq!(pause_after(0), None);
        assert_eq!(pause_after(i32::MAX), None);
    }
}
