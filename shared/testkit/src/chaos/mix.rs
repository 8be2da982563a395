//! Who takes part in a run: of ten clients six speak the native protocol, and one each C, E, an event stream, and Socket.IO, in
//! which both namespaces and both transports take turns. Without Node.js its tenth is native as well.

use super::{ChaosPlan, clients::RUNNER_ROOM};
use crate::{
    client::{ClientPlan, Speech},
    record::{Follow, Wishes},
    socketio::{Namespace, SocketIoPlan},
};

/// The clients, native ones first, and those of Socket.IO.
pub(super) fn of(plan: &ChaosPlan, gateways: &[String]) -> (Vec<ClientPlan>, Vec<SocketIoPlan>) {
    let tenth = plan.clients / 10;
    let packets = if plan.socketio.is_some() { tenth } else { 0 };
    let native = plan.clients - 3 * tenth - packets;
    let mut clients: Vec<ClientPlan> = (0..native).map(|index| native_client(plan, gateways, index)).collect();
    for (of, speech) in [Speech::C, Speech::E, Speech::EventStream].into_iter().enumerate() {
        clients.extend((0..tenth).map(|index| single(plan, gateways, speech, of * tenth + index)));
    }
    (clients, (0..packets).map(|index| packet_client(plan, index)).collect())
}

fn native_client(plan: &ChaosPlan, gateways: &[String], index: usize) -> ClientPlan {
    let execution = plan.execution(index);
    let mut follows = vec![Follow::start(&format!("execution:{execution}"))];
    if index.is_multiple_of(3) {
        follows.push(Follow::start(&user_room(plan, index)));
    }
    if index.is_multiple_of(5) {
        follows.push(Follow::start(&format!("agent:writer:{execution}")));
    }
    if plan.executor.is_some() && index % 10 == 1 {
        follows.push(Follow::start(RUNNER_ROOM));
    }
    ClientPlan { first_gateway: index, keep_bodies: false, ..ClientPlan::new(&format!("client-{index}"), gateways, follows) }
}

/// A client whose address says what it follows. Of event streams every second follows a user.
fn single(plan: &ChaosPlan, gateways: &[String], speech: Speech, index: usize) -> ClientPlan {
    let room = match speech {
        Speech::EventStream if index % 2 == 1 => user_room(plan, index),
        _ => format!("execution:{}", plan.execution(index)),
    };
    let name = format!("{speech:?}-{index}").to_lowercase();
    ClientPlan {
        speech,
        first_gateway: index,
        keep_bodies: false,
        wishes: Wishes { types: speech.types(), ..Wishes::default() },
        ..ClientPlan::new(&name, gateways, vec![Follow::start(&room)])
    }
}

/// In the main namespace an execution and its user, so that every event of it comes by two rooms; in the other the execution.
fn packet_client(plan: &ChaosPlan, index: usize) -> SocketIoPlan {
    let namespace = if index.is_multiple_of(2) { Namespace::Main } else { Namespace::Executions };
    let mut follows = vec![Follow::live(&format!("execution:{}", plan.execution(index)))];
    if namespace == Namespace::Main {
        follows.push(Follow::live(&user_room(plan, index)));
    }
    let name = format!("socketio-{index}-{namespace:?}").to_lowercase();
    SocketIoPlan { name, namespace, first_gateway: index / 2, follows, polls: index % 4 >= 2 }
}

fn user_room(plan: &ChaosPlan, index: usize) -> String {
    format!("user:{}", plan.user(index % plan.executions.max(1)))
}
