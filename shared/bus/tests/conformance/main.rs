//! One suite of semantics over every mode of the bus, with real brokers. The table at the end says what applies where.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod heads;
mod history;
mod live;
mod outage;
mod records;
mod retention;

use common::{Setup, World};
use weft_testkit::servers::NatsVersion::{Current, Debian};

/// Whoever uses the bus spawns tasks that await it.
#[test]
fn every_future_may_move_between_threads() {
    fn sendable<T: Send>(_: T) {}
    fn check(bus: &weft_bus::Bus, room: &weft_event::Room, head: &weft_event::Head, command: weft_bus::Command) {
        let (rooms, address) = (std::slice::from_ref(room), weft_bus::Address::Execution(room.clone()));
        sendable(bus.follow(rooms));
        sendable(bus.read(room, weft_bus::ReadFrom::Start, common::STEP));
        sendable(bus.tails(rooms));
        sendable(bus.renew_epoch(room, weft_event::Epoch(1)));
        sendable(bus.publish(common::publication(room, "{}")));
        sendable(bus.publish_batch(Vec::new()));
        sendable(bus.load_head(room));
        sendable(bus.store_head(head, weft_bus::Expect::Absent));
        sendable(bus.list_heads(&weft_bus::HeadQuery::default()));
        sendable(bus.claim(room, None));
        sendable(bus.owner(room));
        sendable(bus.announce(weft_bus::Presence::Gateway, "x", bytes::Bytes::new()));
        sendable(bus.withdraw(weft_bus::Presence::Gateway, "x"));
        sendable(bus.present(weft_bus::Presence::Gateway));
        sendable(bus.put_record(weft_bus::Record::Recovery, "x", bytes::Bytes::new()));
        sendable(bus.record(weft_bus::Record::Recovery, "x"));
        sendable(bus.remove_record(weft_bus::Record::Recovery, "x"));
        sendable(bus.write_line(weft_bus::Journal::Revocations, bytes::Bytes::new()));
        sendable(bus.lines(weft_bus::Journal::Revocations, weft_bus::Mark::default(), 1));
        sendable(bus.serve(&address, tokio::sync::mpsc::channel(1).0));
        sendable(bus.request(&address, command, common::PATIENCE));
        sendable(bus.probe());
        sendable(bus.close());
        sendable(weft_bus::heads::advance(bus, room, &weft_event::Limits::default(), 1));
    }
    // That it compiles is the test.
    let _ = check;
}

/// Makes one test for each mode and each function named.
macro_rules! suite {
    ($($mode:ident = $setup:expr => [$($group:ident::$test:ident),+ $(,)?];)+) => {
        $(mod $mode {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$group::$test(World::start($setup).await).await;
            })+
        })+
    };
}

/// What every stored mode must do.
macro_rules! stored {
    ($($mode:ident = $setup:expr;)+) => {
        suite! {
            $($mode = $setup => [
                live::events_arrive_in_order,
                live::only_followed_rooms_are_heard,
                live::the_same_id_is_stored_once_a_room,
                live::batches_keep_the_order_of_each_room,
                live::first_and_trace_context_travel,
                live::two_thousand_rooms,
                live::names_of_all_shapes,
                history::pages_are_bounded_and_complete,
                history::large_events_are_read,
                history::an_anchor_is_verified,
                history::tails_stand_at_the_last_event,
                history::an_empty_tail_is_a_place_to_resume_from,
                history::an_epoch_is_renewed_once,
                history::following_and_reading_leave_no_seam,
                retention::by_count,
                retention::by_bytes,
                retention::by_age,
                heads::a_head_is_written_by_compare_and_set,
                heads::lists_are_newest_first_by_owner_and_tenant,
                heads::a_head_follows_a_long_room,
                heads::a_head_folds_what_is_held_and_reads_the_rest,
                heads::announcements_come_and_go,
                heads::a_knowledge_base_has_one_owner,
                records::a_record_is_the_last_that_was_written,
                records::records_and_lines_expire,
                records::a_journal_is_read_from_any_mark,
                records::a_full_journal_refuses,
                commands::one_reply_to_each,
                commands::nobody_a_timeout_and_a_full_inbox,
            ];)+
        }
    };
}

stored! {
    memory = Setup::Memory;
    jetstream_debian = Setup::JetStream(Debian);
    jetstream = Setup::JetStream(Current);
    redis_streams = Setup::RedisStreams;
}

/// What a stored mode with a broker must do besides.
macro_rules! away {
    ($($mode:ident = $setup:expr;)+) => {
        suite! {
            $($mode = $setup => [
                live::a_raw_publish_arrives,
                commands::an_address_moves_between_processes,
                outage::a_killed_broker_comes_back,
                outage::a_stopped_broker_is_noticed,
                outage::nothing_is_acknowledged_falsely,
                outage::a_wiped_broker_is_another_history,
                outage::history_removed_while_running_is_noticed,
                records::a_wiped_journal_is_read_from_its_start,
            ];)+
        }
    };
}

away! {
    jetstream_debian_away = Setup::JetStream(Debian);
    jetstream_away = Setup::JetStream(Current);
    redis_streams_away = Setup::RedisStreams;
}

/// What fire and forget must do.
macro_rules! sent {
    ($($mode:ident = $setup:expr;)+) => {
        suite! {
            $($mode = $setup => [
                live::events_arrive_in_order,
                live::only_followed_rooms_are_heard,
                live::batches_keep_the_order_of_each_room,
                live::two_thousand_rooms,
                live::names_of_all_shapes,
                live::a_raw_publish_arrives,
                live::nothing_is_stored,
                records::what_stores_nothing_says_so,
                commands::one_reply_to_each,
                commands::nobody_a_timeout_and_a_full_inbox,
                commands::an_address_moves_between_processes,
                outage::a_killed_broker_comes_back,
                outage::a_stopped_broker_is_noticed,
            ];)+
        }
    };
}

sent! {
    nats_core_debian = Setup::NatsCore(Debian);
    nats_core = Setup::NatsCore(Current);
    redis_pubsub = Setup::RedisPubSub;
}

suite! {
    jetstream_debian_only = Setup::JetStream(Debian) => [live::an_event_may_be_too_large, live::a_slow_inlet_loses_nothing];
    jetstream_only = Setup::JetStream(Current) => [
        live::an_event_may_be_too_large,
        live::a_slow_inlet_loses_nothing,
        records::a_journal_is_kept_as_long_as_any_process_has_needed,
        outage::a_full_broker_says_so,
    ];
    nats_core_only = Setup::NatsCore(Current) => [live::an_event_may_be_too_large, live::a_slow_inlet_loses_nothing];
    redis_streams_only = Setup::RedisStreams => [outage::a_full_broker_says_so, outage::redis_drops_connections_and_scripts];
    memory_only = Setup::Memory => [retention::by_bytes_of_all_rooms];
    redis_pubsub_only = Setup::RedisPubSub => [heads::announcements_come_and_go];
}
