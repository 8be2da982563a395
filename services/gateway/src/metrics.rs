//! Every metric of the gateway, one line of help each; handles never wait. Labels never hold ids.

mod connections;
mod done;
mod ends;

pub use connections::Kind;
pub use done::{Done, SUMMARY_EVERY};
pub use ends::{Ended, TurnedAway};

use crate::{feed::sync::Counts, hub::HubLimits};
use connections::Connections;
use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use weft_bus::Delivery;
use weft_event::Invalid;
use weft_publisher::trace;

/// Handles to the metrics that are touched often.
#[derive(Clone)]
#[allow(missing_docs)] // each is described in `new`
pub struct Metrics {
    connections: Connections,
    pub passages: Gauge,
    pub rooms: Gauge,
    pub log_bytes: Gauge,
    pub frame_bytes: Gauge,
    pub buffered_bytes: Gauge,
    pub history_bytes: Gauge,
    pub log_over_budget: Counter,
    pub bus_degraded: Gauge,
    pub draining: Gauge,
    events_received: Counter,
    pub done: Arc<Done>,
    pub events_unfollowed: Counter,
    deliveries: Counter,
    pub conflated: Counter,
    delivery_seconds: Histogram,
    published_to_socket_seconds: Histogram,
    pub fanout_seconds: Histogram,
    pub history_reads: Counter,
    pub history_waiting: Gauge,
    admission_waiting: Gauge,
    round_trip_seconds: Histogram,
    pub history_shared: Counter,
    pub feed_reads: Counter,
    pub head_failures: Counter,
    pub heads_put_off: Counter,
    pub checks_due: Gauge,
    pub replies_awaited: Gauge,
}

/// One that a gauge shows, until it is dropped.
pub struct Shown(Gauge);

impl Shown {
    /// One more.
    #[must_use]
    pub fn on(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Why a session never got an event that it should have had.
#[derive(Clone, Copy, Debug)]
pub enum Failed {
    /// Events were gone before the session read them; the client was told by a gap.
    Retention,
    /// More was to be read than may be at once; the client was told by a gap to read it by HTTP.
    Limit,
    /// It could not be told in the session's encoding.
    Encode,
    /// The broker had it, but it is larger than events may be here.
    TooLarge,
    /// The connection was cut off, or closed as stalled or dead, before it came to these.
    Disconnected,
}

const FAILED: [&str; 5] = ["retention", "limit", "encode", "too_large", "disconnected"];
/// How commands end.
const COMMAND_OUTCOMES: [&str; 6] = ["accepted", "rejected", "no_executor", "timeout", "busy", "unavailable"];

impl Metrics {
    /// Registers and describes everything, so that each series exists from the start.
    #[must_use]
    pub fn new() -> Self {
        describe();
        for reason in ["retention", "reset", "unreadable"] {
            counter!("weft_gateway_room_gaps_total", "reason" => reason).absolute(0);
        }
        for reason in FAILED {
            counter!("weft_gateway_failed_deliveries_total", "reason" => reason).absolute(0);
        }
        for outcome in ["live", "resumed", "snapshot", "gap"] {
            counter!("weft_gateway_subscribes_total", "outcome" => outcome).absolute(0);
        }
        for outcome in COMMAND_OUTCOMES {
            counter!("weft_gateway_commands_total", "outcome" => outcome).absolute(0);
        }
        for outcome in ["answered", "unknown", "unreachable", "full"] {
            counter!("weft_gateway_passed_on_total", "outcome" => outcome).absolute(0);
        }
        for outcome in ["recovered", "gap"] {
            counter!("weft_gateway_recoveries_total", "outcome" => outcome).absolute(0);
        }
        for cause in ["link", "tail", "overflow"] {
            counter!("weft_gateway_repairs_total", "cause" => cause).absolute(0);
        }
        ends::begin();
        counter!("weft_gateway_accept_errors_total").absolute(0);
        counter!("weft_gateway_late_bodies_total").absolute(0);
        crate::http::begin_counting_tls();
        crate::http::begin_counting_requests();
        counter!("weft_gateway_reconnects_total").absolute(0);
        counter!("weft_gateway_invalid_events_total").absolute(0);
        counter!("weft_gateway_repeated_events_total").absolute(0);
        Self {
            connections: Connections::begin(),
            passages: gauge!("weft_gateway_passages"),
            rooms: gauge!("weft_gateway_rooms"),
            log_bytes: gauge!("weft_gateway_log_bytes"),
            frame_bytes: gauge!("weft_gateway_frame_bytes"),
            buffered_bytes: gauge!("weft_gateway_buffered_bytes"),
            history_bytes: gauge!("weft_gateway_history_bytes"),
            log_over_budget: counter!("weft_gateway_log_over_budget_total"),
            bus_degraded: gauge!("weft_gateway_bus_degraded"),
            draining: gauge!("weft_gateway_draining"),
            done: Arc::default(),
            events_received: counter!("weft_gateway_events_received_total"),
            events_unfollowed: counter!("weft_gateway_events_unfollowed_total"),
            deliveries: counter!("weft_gateway_deliveries_total"),
            conflated: counter!("weft_gateway_conflated_total"),
            delivery_seconds: histogram!("weft_gateway_delivery_seconds"),
            published_to_socket_seconds: histogram!("weft_gateway_published_to_socket_seconds"),
            fanout_seconds: histogram!("weft_gateway_fanout_seconds"),
            history_reads: counter!("weft_gateway_history_reads_total"),
            history_waiting: gauge!("weft_gateway_history_waiting"),
            admission_waiting: gauge!("weft_gateway_admission_waiting"),
            round_trip_seconds: histogram!("weft_gateway_round_trip_seconds"),
            history_shared: counter!("weft_gateway_history_shared_total"),
            feed_reads: counter!("weft_gateway_feed_reads_total"),
            head_failures: counter!("weft_gateway_head_failures_total"),
            heads_put_off: counter!("weft_gateway_heads_put_off_total"),
            checks_due: gauge!("weft_gateway_checks_due"),
            replies_awaited: gauge!("weft_gateway_replies_awaited"),
        }
    }

    /// How much there may be.
    pub fn bound(&self, limits: &HubLimits) {
        gauge!("weft_gateway_connections_max").set(limits.connections as f64);
        gauge!("weft_gateway_rooms_max").set(limits.rooms as f64);
        gauge!("weft_gateway_logs_bytes_max").set(limits.logs_bytes as f64);
    }

    /// An event was taken into a log; how many were before it.
    pub fn received(&self) -> u64 {
        self.events_received.increment(1);
        self.done.received()
    }

    /// Event frames were handed to a socket.
    pub fn handed_over(&self, events: u64) {
        self.deliveries.increment(events);
        self.done.delivered(events);
    }

    /// The last event of a write went to its socket.
    pub fn delivered(&self, received: Instant, stored_ms: Option<u64>) {
        self.delivery_seconds.record(received.elapsed());
        if let Some(stored_ms) = stored_ms {
            let elapsed_ms = crate::feed::heads::now_ms().saturating_sub(stored_ms);
            self.published_to_socket_seconds.record(Duration::from_millis(elapsed_ms));
        }
    }

    /// A room lost part of its history.
    pub fn gap(&self, reason: &'static str) {
        counter!("weft_gateway_room_gaps_total", "reason" => reason).increment(1);
    }

    /// An event on the bus was invalid and is skipped.
    pub fn invalid_event(&self, delivery: &Delivery, invalid: &Invalid) {
        counter!("weft_gateway_invalid_events_total").increment(1);
        let (trace_id, span_id) = delivery.traceparent.as_deref().and_then(trace::ids).unzip();
        let (room, field, rule) = (&delivery.room, invalid.field, &invalid.rule);
        tracing::warn!(%room, field, %rule, trace_id, span_id, "an invalid event on the bus was skipped");
    }

    /// A session missed events.
    pub fn failed(&self, reason: Failed, events: u64) {
        let reason = match reason {
            Failed::Retention => "retention",
            Failed::Limit => "limit",
            Failed::Encode => "encode",
            Failed::TooLarge => "too_large",
            Failed::Disconnected => "disconnected",
        };
        counter!("weft_gateway_failed_deliveries_total", "reason" => reason).increment(events);
        self.done.failed(events);
    }

    /// A subscribe was answered.
    pub fn subscribed(&self, outcome: &'static str) {
        counter!("weft_gateway_subscribes_total", "outcome" => outcome).increment(1);
    }

    /// A connection came that resumed something: a client that was here before.
    pub fn reconnected(&self) {
        counter!("weft_gateway_reconnects_total").increment(1);
    }

    /// A request of a session that another gateway holds was passed on to it, or could not be.
    pub fn passed_on(&self, outcome: &'static str) {
        counter!("weft_gateway_passed_on_total", "outcome" => outcome).increment(1);
    }

    /// A client of Socket.IO came back with the secret of an earlier session: whether that was recovered as a whole.
    pub fn recovery(&self, is_whole: bool) {
        let outcome = if is_whole { "recovered" } else { "gap" };
        counter!("weft_gateway_recoveries_total", "outcome" => outcome).increment(1);
    }

    /// A command got its one answer.
    pub fn command(&self, outcome: &'static str) {
        counter!("weft_gateway_commands_total", "outcome" => outcome).increment(1);
    }

    /// A client is asked to wait before it is let in, until the answer is dropped.
    pub fn begin_waiting(&self) -> Shown {
        Shown::on(&self.admission_waiting)
    }

    /// A client has answered a ping.
    pub fn round_trip(&self, took: Duration) {
        self.round_trip_seconds.record(took);
    }

    /// What a room's state machine did.
    pub fn room_counts(&self, before: Counts, after: Counts) {
        if before == after {
            return;
        }
        let repairs = |cause: &'static str, count: u64| counter!("weft_gateway_repairs_total", "cause" => cause).increment(count);
        repairs("link", after.link_repairs - before.link_repairs);
        repairs("tail", after.tail_repairs - before.tail_repairs);
        repairs("overflow", after.overflows - before.overflows);
        counter!("weft_gateway_repeated_events_total").increment(after.repeated - before.repeated);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn describe() {
    describe_gauge!("weft_gateway_connections_max", "As many connections as there may be");
    describe_gauge!("weft_gateway_passages", "WebSockets that are passed through to the gateways that hold their sessions");
    describe_gauge!("weft_gateway_rooms_max", "As many rooms as may be followed");
    describe_gauge!("weft_gateway_logs_bytes_max", "As many bytes as all logs may hold");
    describe_gauge!("weft_gateway_rooms", "Rooms followed on the bus now");
    describe_gauge!("weft_gateway_log_bytes", "Bytes of events held in all logs");
    describe_gauge!("weft_gateway_frame_bytes", "Bytes of the frames made of events in logs and history pages");
    describe_gauge!("weft_gateway_buffered_bytes", "Bytes of live events that wait for a read of their room's history");
    describe_counter!("weft_gateway_accept_errors_total", "Connections that could not be accepted");
    describe_counter!("weft_gateway_late_bodies_total", "Bodies of requests that did not come in time");
    describe_gauge!("weft_gateway_history_waiting", "Reads of history that wait for their turn");
    describe_gauge!("weft_gateway_admission_waiting", "Clients that wait to be let in");
    describe_histogram!("weft_gateway_round_trip_seconds", "From a ping to the client's answer");
    describe_gauge!("weft_gateway_history_bytes", "Bytes of history pages kept for readers behind");
    describe_counter!("weft_gateway_log_over_budget_total", "Times the logs held a quarter more than their budget");
    describe_gauge!("weft_gateway_bus_degraded", "1 while the broker is away");
    describe_gauge!("weft_gateway_draining", "1 while the process is leaving");
    describe_counter!("weft_gateway_events_received_total", "Events taken into a log");
    describe_counter!("weft_gateway_events_unfollowed_total", "Live events of rooms that nobody here follows any more");
    describe_counter!("weft_gateway_invalid_events_total", "Events on the bus that were invalid and skipped");
    describe_counter!("weft_gateway_repeated_events_total", "Live events that came again and were dropped");
    describe_counter!("weft_gateway_deliveries_total", "Event frames handed to a socket");
    describe_counter!("weft_gateway_conflated_total", "Events that a later one stood for, where a client asked for that");
    describe_counter!("weft_gateway_failed_deliveries_total", "Events that a session should have had and never got, by reason");
    describe_histogram!(
        "weft_gateway_delivery_seconds",
        "From receiving an event to handing the last of a write's frames to the socket"
    );
    describe_histogram!(
        "weft_gateway_fanout_seconds",
        "From receiving an event to handing it to the last client that keeps up, of one event in so many"
    );
    describe_histogram!(
        "weft_gateway_published_to_socket_seconds",
        "From the broker's store time to the socket; includes clock skew"
    );
    describe_counter!("weft_gateway_history_reads_total", "History reads on the broker for sessions");
    describe_counter!("weft_gateway_history_shared_total", "History reads that another session's read answered");
    describe_counter!("weft_gateway_feed_reads_total", "History reads on the broker to keep logs true");
    describe_counter!("weft_gateway_repairs_total", "Reads begun because live events were missing, by how that was found");
    describe_counter!("weft_gateway_room_gaps_total", "Gaps in rooms, by reason");
    describe_counter!("weft_gateway_subscribes_total", "Subscribes answered, by outcome");
    describe_counter!("weft_gateway_reconnects_total", "Connections that resumed a room");
    describe_counter!("weft_gateway_passed_on_total", "Requests of Socket.IO sessions that other gateways hold, by outcome");
    describe_counter!("weft_gateway_recoveries_total", "Sessions of Socket.IO that came back, by whether anything was missed");
    describe_counter!("weft_gateway_head_failures_total", "Heads of executions that could not be moved");
    describe_gauge!("weft_gateway_checks_due", "Checks of rooms' tails that are planned");
    describe_gauge!("weft_gateway_replies_awaited", "Commands given to executors by HTTP that are remembered");
    describe_counter!("weft_gateway_commands_total", "Commands from clients, by their answer");
    describe_counter!("weft_gateway_heads_put_off_total", "Times the queue of heads to move was full; a later event asks again");
}
