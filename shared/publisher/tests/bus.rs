//! Publishing over the in-process bus: order, copies, heads, owners, and what the buffer does when it is full.

use std::time::Duration;
use weft_bus::{Bus, BusConfig, Delivery, PageLimit, ReadFrom};
use weft_event::{Room, Status};
use weft_publisher::{
    EventDraft, HeadConfig, HeadKeeper, PublishError, Publisher, PublisherConfig, StoreEventError, data, store_all,
};

/// Long enough for the slowest machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

async fn bus_retaining(events: usize) -> Bus {
    let mut config = BusConfig::parse("memory:").expect("memory");
    config.retention.events = events;
    Bus::connect(config).await.expect("memory bus")
}

async fn bus() -> Bus {
    bus_retaining(100_000).await
}

fn room(name: &str) -> Room {
    Room::parse(name).expect(name)
}

async fn stored(bus: &Bus, name: &str) -> Vec<Delivery> {
    let limit = PageLimit { events: usize::MAX, bytes: usize::MAX };
    bus.read(&room(name), ReadFrom::Start, limit).await.expect(name).events
}

async fn ids(bus: &Bus, name: &str) -> Vec<String> {
    let id = |delivery: &Delivery| {
        serde_json::from_slice::<serde_json::Value>(&delivery.payload).expect("json")["id"].as_str().expect("id").to_owned()
    };
    stored(bus, name).await.iter().map(id).collect()
}

fn log(execution: &str, id: usize) -> EventDraft {
    EventDraft::new("log").execution(execution).id(id.to_string()).data(data::Log::info("x"))
}

#[tokio::test]
async fn an_event_reaches_its_rooms_and_its_copies_say_where_it_is() {
    let bus = bus().await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    let draft = EventDraft::new("agent:token").execution("e").user("u").agent("a").data(serde_json::json!({"token": "Hi"}));
    let answer = publisher.publish(draft).await.expect("stored");
    let rooms: Vec<_> = answer.positions.iter().map(|(room, _)| room.to_string()).collect();
    assert_eq!(rooms, ["execution:e", "user:u", "agent:a:e"]);
    assert!(!answer.duplicate && answer.id.parse::<uuid::Uuid>().is_ok_and(|id| id.get_version_num() == 7), "{answer:?}");
    let at = answer.positions[0].1.expect("a durable bus gives positions");
    for (name, is_copy) in [("execution:e", false), ("user:u", true), ("agent:a:e", true)] {
        let held = stored(&bus, name).await;
        let first = held[0].first.as_ref().map(|first| (first.room.to_string(), first.epoch, first.seq));
        assert_eq!((held.len(), first), (1, is_copy.then(|| ("execution:e".into(), at.epoch, at.seq))), "{name}");
        assert!(held[0].payload.windows(12).any(|window| window == b"\"timestamp\":"), "{name}");
    }
    let again = publisher.publish(log("e", 1)).await.expect("stored");
    let twice = publisher.publish(log("e", 1)).await.expect("stored once");
    assert_eq!((again.duplicate, twice.duplicate, again.positions[0].1), (false, true, twice.positions[0].1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_room_keeps_the_order_of_enqueueing() {
    let bus = bus().await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig { batch_events: 7, ..PublisherConfig::default() });
    const EVENTS: usize = 4000;
    for id in 0..EVENTS {
        let execution = format!("e{}", id % 5);
        publisher.enqueue(log(&execution, id).user("u")).expect("has room");
    }
    publisher.flush(PATIENCE).await.expect("all stored");
    let expected = |keep: fn(usize) -> bool| (0..EVENTS).filter(|id| keep(*id)).map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&bus, "execution:e3").await, expected(|id| id % 5 == 3));
    assert_eq!(ids(&bus, "user:u").await, expected(|_| true), "copies of several executions keep the order too");
    assert_eq!((publisher.pending(), publisher.losses().borrow().total()), (0, 0));
}

#[tokio::test]
async fn another_owner_is_refused_and_the_room_goes_on() {
    let bus = bus().await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    let outcomes = [
        publisher.enqueue(log("e", 1).user("ada")),
        publisher.enqueue(log("e", 2).user("bob")),
        publisher.enqueue(log("e", 3)),
        publisher.enqueue(log("e", 4).user("ada")),
    ];
    let [first, second, third, fourth] = outcomes.map(|pending| pending.expect("valid"));
    assert!(first.await.is_ok());
    assert_eq!(second.await, Err(PublishError::OwnerMismatch));
    assert!(third.await.is_ok() && fourth.await.is_ok());
    assert_eq!(ids(&bus, "execution:e").await, ["1", "3", "4"]);
    assert_eq!(ids(&bus, "user:ada").await, ["1", "4"]);
    assert!(stored(&bus, "user:bob").await.is_empty());
    assert_eq!(publisher.losses().borrow().refused, 1);
    let (head, _) = bus.load_head(&room("execution:e")).await.expect("heads").expect("a head");
    assert_eq!(head.owner.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_knowledge_base_belongs_to_whoever_published_into_it_first() {
    let bus = bus().await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    let event = |user: Option<&str>| {
        let draft = EventDraft::new("kb:processing").knowledge_base("docs");
        match user {
            Some(user) => draft.user(user),
            None => draft,
        }
    };
    publisher.publish(event(Some("ada"))).await.expect("stored");
    assert_eq!(publisher.publish(event(Some("bob"))).await, Err(PublishError::OwnerMismatch));
    publisher.publish(event(None)).await.expect("no user's event belongs to any");
    assert_eq!(bus.owner(&room("kb:docs")).await, Ok(Some(Some("ada".into()))));
    assert_eq!(stored(&bus, "kb:docs").await.len(), 2);
    // Another process, which has never seen it.
    let other = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    assert_eq!(other.publish(event(Some("bob"))).await, Err(PublishError::OwnerMismatch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_keeps_what_retention_has_taken() {
    let bus = bus_retaining(1000).await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    let run = publisher.run("e").user("u").workflow("w");
    run.execution_started(data::ExecutionStarted::default()).expect("room");
    run.node_completed("early", data::NodeCompleted { output: Some(7.into()), ..Default::default() }).expect("room");
    for id in 0..20_000 {
        publisher.enqueue_wait(log("e", id)).await.expect("valid");
    }
    run.execution_failed(data::ExecutionFailed { error: "no".into(), failed_node: None }).expect("room");
    publisher.close().await.expect("all stored, all heads moved");
    let (head, _) = bus.load_head(&room("execution:e")).await.expect("heads").expect("a head");
    assert_eq!((head.status(), head.owner.as_deref(), head.incomplete), (Status::Failed, Some("u"), false));
    assert!(head.snapshot.nodes.contains_key("early"), "folded before retention took it");
    assert_eq!(head.position(), stored(&bus, "execution:e").await.last().and_then(Delivery::position));
}

#[tokio::test]
async fn a_full_buffer_refuses_or_makes_wait() {
    let bus = bus().await;
    let config = PublisherConfig { buffer_bytes: 4096, ..PublisherConfig::default() };
    let publisher = Publisher::over_bus(bus.clone(), config);
    // No await point in between, so that nothing can be sent meanwhile on this one thread.
    let mut accepted = 0;
    let refused = loop {
        match publisher.enqueue(log("e", accepted)) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused, publisher.losses().borrow().full), (PublishError::Full, 1));
    assert!((4..8).contains(&accepted), "{accepted} events of about 600 bytes in 4096");
    publisher.enqueue_wait(log("e", accepted)).await.expect("waits").await.expect("stored");
    assert_eq!(stored(&bus, "execution:e").await.len(), accepted + 1);
    // An event larger than the whole buffer still passes alone.
    let large = EventDraft::new("log").execution("e").data(data::Log::info("x".repeat(10_000)));
    publisher.enqueue_wait(large).await.expect("passes").await.expect("stored");
}

#[tokio::test]
async fn what_is_invalid_or_late_is_an_error_to_its_publisher() {
    let publisher = Publisher::over_bus(bus().await, PublisherConfig::default());
    let invalid = publisher.enqueue(EventDraft::new("log")).expect_err("no execution");
    assert!(matches!(&invalid, PublishError::Invalid(invalid) if invalid.field == "executionId"), "{invalid}");
    let pending = publisher.enqueue(log("e", 1)).expect("valid");
    publisher.close().await.expect("stored");
    pending.await.expect("stored before the close returned");
    assert_eq!(publisher.enqueue(log("e", 2)).map(|_| ()), Err(PublishError::Closed));
    assert_eq!(publisher.enqueue_wait(log("e", 2)).await.map(|_| ()), Err(PublishError::Closed));
}

#[tokio::test]
async fn tenants_do_not_meet() {
    let bus = bus().await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig { tenant: Some("acme".into()), ..Default::default() });
    let answer = publisher.publish(log("e", 1).user("u")).await.expect("stored");
    let rooms: Vec<_> = answer.positions.iter().map(|(room, _)| room.broker_name().to_owned()).collect();
    assert_eq!(rooms, ["acme/execution:e", "acme/user:u"]);
    assert!(stored(&bus, "execution:e").await.is_empty());
}

#[tokio::test]
async fn every_helper_writes_its_type_and_ids() {
    let bus = bus().await;
    let publisher = Publisher::over_bus(bus.clone(), PublisherConfig::default());
    let run = publisher.run("e").workflow("w").user("u").traceparent("00-1-2-01");
    run.execution_updated(data::ExecutionUpdated { progress: Some(5.0), ..Default::default() }).expect("valid");
    run.agent_token("a", data::AgentToken { token: "t".into(), ..Default::default() }).expect("valid");
    run.user_input_required(data::UserInputRequired { request_id: "r".into(), prompt: "?".into(), ..Default::default() })
        .expect("valid");
    publisher.kb_processing("k", Some("u"), data::KbStep { step: Some("chunking".into()), ..Default::default() }).expect("valid");
    publisher.flush(PATIENCE).await.expect("stored");
    let mut seen = Vec::new();
    for delivery in stored(&bus, "execution:e").await.into_iter().chain(stored(&bus, "kb:k").await) {
        let mut event: serde_json::Value = serde_json::from_slice(&delivery.payload).expect("json");
        assert_eq!(delivery.traceparent.is_some(), event.get("traceparent").is_some(), "the header repeats the field");
        for assigned in ["id", "timestamp", "traceparent"] {
            event.as_object_mut().expect("object").remove(assigned);
        }
        seen.push(event.to_string());
    }
    assert_eq!(
        seen,
        [
            r#"{"data":{"progress":5.0},"executionId":"e","type":"execution:updated","userId":"u","workflowId":"w"}"#,
            r#"{"agentId":"a","data":{"agentId":"a","token":"t"},"executionId":"e","type":"agent:token","userId":"u","workflowId":"w"}"#,
            r#"{"data":{"prompt":"?","requestId":"r"},"executionId":"e","type":"user_input:required","userId":"u","workflowId":"w"}"#,
            r#"{"data":{"step":"chunking"},"knowledgeBaseId":"k","type":"kb:processing","userId":"u"}"#,
        ]
    );
}

#[tokio::test]
async fn an_ingress_stores_thousands_and_answers_for_each() {
    let bus = bus_retaining(1000).await;
    let heads =
        HeadKeeper::new(bus.clone(), HeadConfig::for_retention(&weft_bus::Retention { events: 1000, ..Default::default() }));
    let mut events = vec![EventDraft::new("node:started").execution("e0").node("early").user("u")];
    events.extend((0..6000).map(|id| log(&format!("e{}", if id < 5000 { 0 } else { id % 100 }), id).user("u")));
    events[10] = log("e0", 9).user("mallory");
    events.push(log("e0", 17).user("u"));
    let limits = weft_event::Limits::default();
    let events: Vec<_> = events.iter().map(|draft| draft.prepare(&limits).expect("valid")).collect();
    let (of_task, keeper) = (bus.clone(), heads.clone());
    // On a task of its own, as a server's request does it: the future must be `Send`.
    let results = tokio::spawn(async move { store_all(&of_task, &keeper, None, events).await }).await.expect("no panic");
    assert_eq!(results.len(), 6002);
    for (at, result) in results.iter().enumerate() {
        match (at, result) {
            (10, result) => assert_eq!(*result, Err(StoreEventError::OwnerMismatch)),
            (_, Ok(stored)) => {
                assert_eq!((stored.duplicate, stored.positions.len()), (at == 6001, 2), "{at}");
                assert!(stored.positions.iter().all(|(_, position)| position.is_some()), "{at}");
            }
            (_, Err(error)) => panic!("event {at}: {error}"),
        }
    }
    assert_eq!(heads.settle(PATIENCE).await, 0);
    let (head, _) = bus.load_head(&room("execution:e0")).await.expect("heads").expect("a head");
    assert!(!head.incomplete && head.snapshot.nodes.contains_key("early"), "the head kept ahead of retention");
    let kept = ids(&bus, "user:u").await;
    assert!(kept.len() == 1000 && kept.is_sorted_by_key(|id| id.parse::<usize>().expect("number")), "copies in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_kept_for_more_executions_than_are_remembered() {
    let bus = bus().await;
    let config = HeadConfig { executions_max: 8, ..HeadConfig::default() };
    let heads = HeadKeeper::new(bus.clone(), config);
    let publisher = Publisher::with_heads(bus.clone(), heads, PublisherConfig::default());
    for execution in 0..100 {
        let run = publisher.run(format!("e{execution}")).user("u");
        run.execution_started(data::ExecutionStarted::default()).expect("room");
        run.log(data::Log::info("x")).expect("room");
    }
    publisher.flush(PATIENCE).await.expect("stored, and heads moved");
    // All but the last few have been forgotten; their owner is still known.
    let stranger = publisher.run("e0").user("v");
    assert_eq!(stranger.log(data::Log::info("x")).expect("room").await, Err(PublishError::OwnerMismatch));
    for execution in 0..100 {
        let (head, _) = bus.load_head(&room(&format!("execution:e{execution}"))).await.expect("heads").expect("a head");
        assert_eq!((head.status(), head.owner.as_deref()), (Status::Running, Some("u")), "e{execution}");
    }
}
