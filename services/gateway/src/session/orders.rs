//! What concerns connections beside their rooms: revocations, and what operators ask. Said to all; each takes what is its own.

use super::Shed;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use uuid::Uuid;

/// Orders remembered. Every session is woken for each; one that has slept through more than these is not asked.
const REMEMBERED: usize = 64;
/// Connections that one answer tells of.
pub const REPORTS_MAX: usize = 1000;

/// What is said to all.
#[derive(Clone)]
pub(super) enum Order {
    /// Something was taken back.
    Revoked,
    /// This connection is to go.
    Go(Uuid),
    /// Some are.
    Shed(Arc<Shed>),
    /// Connections of this kind are to tell of themselves.
    Tell(Arc<Question>),
}

/// A connection, as operators see it.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its id, as its client knows it where it is told one.
    #[serde(serialize_with = "text")]
    pub id: Uuid,
    /// What it speaks.
    pub dialect: &'static str,
    /// The tenant of its token.
    pub tenant: Option<String>,
    /// The user.
    pub subject: Option<String>,
    /// Rooms that it follows.
    pub rooms: Vec<String>,
    /// Of these, how many wait to become known.
    pub pending: usize,
    /// Events that it has not been told yet.
    pub behind: u64,
}

fn text<S: serde::Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Which connections are to tell of themselves.
#[derive(Debug, Default)]
pub struct Question {
    /// This one.
    pub id: Option<Uuid>,
    /// Those of this user.
    pub subject: Option<String>,
    /// Those of this tenant.
    pub tenant: Option<String>,
    /// Those that follow this room, named without its tenant.
    pub room: Option<String>,
    /// What they told.
    pub reports: Mutex<Vec<Report>>,
}

impl Question {
    /// Takes a connection's report, if it is one of those.
    pub(super) fn answer(&self, report: Report) {
        let fits = |wanted: &Option<String>, own: &Option<String>| wanted.is_none() || wanted == own;
        let is_meant = self.id.is_none_or(|id| id == report.id)
            && fits(&self.subject, &report.subject)
            && fits(&self.tenant, &report.tenant)
            && self.room.as_ref().is_none_or(|room| report.rooms.contains(room));
        let mut reports = self.reports.lock();
        if is_meant && reports.len() < REPORTS_MAX {
            reports.push(report);
        }
    }
}

/// What was said to all, the latest last.
#[derive(Default)]
pub struct Orders {
    version: AtomicU32,
    latest: Mutex<VecDeque<(u32, Order)>>,
}

impl Orders {
    /// A number that changes with each order.
    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// Says it; whoever says it wakes the sessions afterwards.
    pub(super) fn say(&self, order: Order) {
        let mut latest = self.latest.lock();
        let version = self.version.load(Ordering::Relaxed).wrapping_add(1);
        latest.push_back((version, order));
        if latest.len() > REMEMBERED {
            latest.pop_front();
        }
        self.version.store(version, Ordering::Release);
    }

    /// Those said after `heeded`.
    pub(super) fn since(&self, heeded: u32) -> Vec<Order> {
        let is_new = |version: u32| version.wrapping_sub(heeded) as i32 > 0;
        self.latest.lock().iter().filter(|(version, _)| is_new(*version)).map(|(_, order)| order.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_is_heard_once() {
        let orders = Orders::default();
        orders.say(Order::Revoked);
        let heeded = orders.version();
        assert_eq!(orders.since(heeded).len(), 0);
        let id = Uuid::new_v4();
        orders.say(Order::Go(id));
        assert!(matches!(orders.since(heeded)[..], [Order::Go(one)] if one == id));
        (0..100).for_each(|_| orders.say(Order::Revoked));
        assert_eq!(orders.since(0).len(), REMEMBERED);
    }
}
