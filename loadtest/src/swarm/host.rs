//! A run's hold on its client processes: starts them, gives orders, and gathers what they count.

pub(crate) use super::member::{Heard, Missing};
use super::{
    member::{Answer, Member},
    order::{ComeBack, Counts, Follow, Order, Rooms, Setup, Slow, What},
};
use crate::{client::speech::Speech, error::Failure};
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// More would keep one thread busy for long.
const CLIENTS_A_PROCESS_MAX: u32 = 18_000;
/// Of a client process, beside its clients.
const DESCRIPTORS_BESIDE: u64 = 50;
/// Below the listen backlog of a default kernel, over all processes of a run.
const CONNECTING_AT_ONCE: u32 = 256;
/// A client process answers within its turn; this only bounds a hang.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// What the clients of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct SwarmPlan {
    pub(crate) clients: u32,
    pub(crate) speech: Speech,
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) rooms: Rooms,
    pub(crate) deflate: bool,
    pub(crate) token_key: Option<String>,
    pub(crate) come_back: Option<ComeBack>,
    pub(crate) slow: Option<Slow>,
    /// Keeps the source addresses of several swarms apart.
    pub(crate) process_base: u32,
}

pub(crate) struct Swarms {
    members: Vec<Member>,
    rooms_each: u32,
    next_ticket: AtomicU64,
    pub(crate) heard: Arc<Mutex<Heard>>,
}

impl Swarms {
    /// Starts the processes; nobody is connected yet.
    pub(crate) async fn start(plan: &SwarmPlan) -> Result<Self, Failure> {
        let heard = Arc::new(Mutex::new(Heard::new()));
        let processes = plan.clients.div_ceil(clients_a_process()).max(1);
        let mut members = Vec::new();
        for process in 0..processes {
            let first = share(plan.clients, processes, process);
            let clients = share(plan.clients, processes, process + 1) - first;
            let setup = setup(plan, process, processes, first, clients);
            members.push(Member::start(&setup, &heard).await?);
        }
        let rooms_each = plan.rooms.each.min(plan.rooms.count);
        Ok(Self { members, rooms_each, next_ticket: AtomicU64::new(1), heard })
    }

    /// Has clients `from..to` connect to a server.
    pub(crate) async fn connect(&self, from: u32, to: u32, server: u32, follow: Follow) -> Result<(), Failure> {
        let order = |from, to| Order::Connect { from, to, server, follow };
        self.each_range(from, to, order).await
    }

    /// Has clients `from..to` leave, and come back later.
    pub(crate) async fn leave(&self, from: u32, to: u32, back_after_ms: u32) -> Result<(), Failure> {
        let order = |from, to| Order::Leave { from, to, back_after_ms };
        self.each_range(from, to, order).await
    }

    async fn each_range(&self, from: u32, to: u32, order: impl Fn(u32, u32) -> Order) -> Result<(), Failure> {
        for member in &self.members {
            let local = |number: u32| number.clamp(member.first, member.first + member.clients) - member.first;
            let (from, to) = (local(from), local(to));
            if from < to {
                member.send(&order(from, to)).await?;
            }
        }
        Ok(())
    }

    /// Gives all of them an order.
    pub(crate) async fn all(&self, order: &Order) -> Result<(), Failure> {
        for member in &self.members {
            member.send(order).await?;
        }
        Ok(())
    }

    /// Waits until all connections were made, or all rooms are followed.
    pub(crate) async fn until_all(&self, what: What, patience: Duration) -> Result<(), Failure> {
        let factor = if what == What::Connected { 1 } else { self.rooms_each };
        let targets: Vec<u64> = self.members.iter().map(|member| u64::from(member.clients) * u64::from(factor)).collect();
        let mut reaching = self.reach(what, &targets).await?;
        let done = tokio::select! {
            done = reaching.within(patience) => done?,
            () = self.first_end() => false,
        };
        let counts = self.counts().await?;
        if done && counts.ended == 0 {
            return Ok(());
        }
        let (done, what) = match what {
            What::Connected => (counts.connected, "connected"),
            _ => (counts.subscribed, "subscribed"),
        };
        let detail = counts.remarks.iter().map(|remark| format!("; {remark}")).collect();
        Err(Failure::Clients { done, wanted: targets.iter().sum(), what, waited: patience, detail })
    }

    /// Until a connection has ended that was not meant to: nobody waits for the others then.
    async fn first_end(&self) {
        while self.last_counts().ended == 0 {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Begins to wait for `more` events for each followed room, beyond what was delivered when `counts` were taken.
    pub(crate) async fn expect(&self, delivered: &[u64], more: u64) -> Result<Reaching, Failure> {
        let followed = |member: &Member| u64::from(member.clients) * u64::from(self.rooms_each);
        let targets: Vec<u64> = self.members.iter().zip(delivered).map(|(member, now)| now + more * followed(member)).collect();
        self.reach(What::Delivered, &targets).await
    }

    async fn reach(&self, what: What, targets: &[u64]) -> Result<Reaching, Failure> {
        let mut answers = Vec::new();
        for (member, count) in self.members.iter().zip(targets) {
            answers.push(self.ask(member, |ticket| Order::Await { ticket, what, count: *count }).await?);
        }
        Ok(Reaching { answers, counts: Vec::new() })
    }

    /// The counts of each process, now.
    pub(crate) async fn counts_each(&self) -> Result<Vec<Counts>, Failure> {
        let mut answers = Vec::new();
        for member in &self.members {
            answers.push(self.ask(member, |ticket| Order::Count { ticket }).await?);
        }
        let mut counts = Vec::new();
        for answer in answers {
            counts.push(counts_of(answer).await?);
        }
        Ok(counts)
    }

    /// The counts of all, now.
    pub(crate) async fn counts(&self) -> Result<Counts, Failure> {
        Ok(sum(&self.counts_each().await?))
    }

    /// The counts of all as of their last ticks, without asking.
    pub(crate) fn last_counts(&self) -> Counts {
        let counts: Vec<Counts> = self.members.iter().map(|member| member.last.lock().clone()).collect();
        sum(&counts)
    }

    /// How many events of those published, a number for all rooms or one for each, were not seen by those who should.
    pub(crate) async fn missing(&self, published: &[u32]) -> Result<Missing, Failure> {
        self.missing_of(published, false).await
    }

    async fn missing_of(&self, published: &[u32], open: bool) -> Result<Missing, Failure> {
        let mut answers = Vec::new();
        for member in &self.members {
            let published = published.to_vec();
            answers.push(self.ask(member, |ticket| Order::Check { ticket, published, open }).await?);
        }
        let mut missing = Missing::default();
        for answer in answers {
            match answered(answer).await? {
                Answer::Missing(more) => {
                    missing.events += more.events;
                    missing.example = missing.example.or(more.example);
                }
                Answer::Counts(_) => return Err(Failure::Swarm("counts instead of a check".into())),
            }
        }
        Ok(missing)
    }

    /// Waits until nothing that was published is missing, or nothing more has come for `patience`.
    pub(crate) async fn settle(&self, published: &[u32], patience: Duration) -> Result<Missing, Failure> {
        self.settle_of(published, patience, false).await
    }

    /// The same of those clients that are connected.
    pub(crate) async fn settle_open(&self, published: &[u32], patience: Duration) -> Result<Missing, Failure> {
        self.settle_of(published, patience, true).await
    }

    async fn settle_of(&self, published: &[u32], patience: Duration, open: bool) -> Result<Missing, Failure> {
        let mut quiet = Duration::ZERO;
        let mut delivered = 0;
        loop {
            let missing = self.missing_of(published, open).await?;
            let now = self.counts().await?.delivered;
            if missing.events == 0 || quiet >= patience {
                return Ok(missing);
            }
            quiet = if now > delivered { Duration::ZERO } else { quiet + POLL };
            delivered = now;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Rooms that each client follows.
    pub(crate) fn rooms_each(&self) -> u32 {
        self.rooms_each
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.child.id()).collect()
    }

    async fn ask(&self, member: &Member, order: impl FnOnce(u64) -> Order) -> Result<oneshot::Receiver<Answer>, Failure> {
        let ticket = self.next_ticket.fetch_add(1, Relaxed);
        let (answer, answered) = oneshot::channel();
        member.tickets.lock().insert(ticket, answer);
        member.send(&order(ticket)).await?;
        Ok(answered)
    }
}

const POLL: Duration = Duration::from_millis(50);

/// What is waited for.
pub(crate) struct Reaching {
    answers: Vec<oneshot::Receiver<Answer>>,
    /// Of each process, when it had reached its part.
    pub(crate) counts: Vec<Counts>,
}

impl Reaching {
    /// Whether it was reached in time.
    pub(crate) async fn within(&mut self, patience: Duration) -> Result<bool, Failure> {
        let all = async {
            for answer in std::mem::take(&mut self.answers) {
                self.counts.push(counts_of(answer).await?);
            }
            Ok(())
        };
        match tokio::time::timeout(patience, all).await {
            Ok(done) => done.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

async fn counts_of(answer: oneshot::Receiver<Answer>) -> Result<Counts, Failure> {
    match answer.await {
        Ok(Answer::Counts(counts)) => Ok(*counts),
        _ => Err(Failure::Swarm("a client process ended".into())),
    }
}

async fn answered(answer: oneshot::Receiver<Answer>) -> Result<Answer, Failure> {
    let answer = tokio::time::timeout(ANSWER_PATIENCE, answer).await;
    answer.ok().and_then(Result::ok).ok_or_else(|| Failure::Swarm("a client process ended or does not answer".into()))
}

fn setup(plan: &SwarmPlan, process: u32, processes: u32, first: u32, clients: u32) -> Setup {
    Setup {
        process: plan.process_base + process,
        speech: plan.speech,
        servers: plan.servers.clone(),
        first,
        clients,
        rooms: plan.rooms.clone(),
        deflate: plan.deflate,
        token_key: plan.token_key.clone(),
        connecting_max: (CONNECTING_AT_ONCE / processes).max(16),
        come_back: plan.come_back,
        slow: plan.slow,
    }
}

/// As many clients as one process may have descriptors for.
pub(crate) fn clients_a_process() -> u32 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = u32::try_from(limit.saturating_sub(DESCRIPTORS_BESIDE)).unwrap_or(u32::MAX);
    possible.clamp(1, CLIENTS_A_PROCESS_MAX)
}

/// Where the part `index` of `parts` begins.
fn share(whole: u32, parts: u32, index: u32) -> u32 {
    // Never more than the whole.
    (u64::from(whole) * u64::from(index) / u64::from(parts)) as u32
}

fn sum(each: &[Counts]) -> Counts {
    each.iter().fold(Counts::default(), |sum, counts| Counts {
        open: sum.open + counts.open,
        connected: sum.connected + counts.connected,
        subscribed: sum.subscribed + counts.subscribed,
        recovered: sum.recovered + counts.recovered,
        delivered: sum.delivered + counts.delivered,
        duplicated: sum.duplicated + counts.duplicated,
        misordered: sum.misordered + counts.misordered,
        gaps: sum.gaps + counts.gaps,
        errors: sum.errors + counts.errors,
        ended: sum.ended + counts.ended,
        cut: sum.cut + counts.cut,
        bytes: sum.bytes + counts.bytes,
        at_us: sum.at_us.max(counts.at_us),
        remarks: sum.remarks.into_iter().chain(counts.remarks.clone()).collect(),
    })
}
