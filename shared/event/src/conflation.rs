//! What a reader that is behind, and asked for it, may be spared (wire contract, section 1).
//!
//! A subscription with `conflate` gives a run of consecutive events of one room, as it would have sent them, and gets
//! back what it sends instead. What holds of the result, whatever the run:
//!
//! - **Order.** What remains stands in stored order, each event at its own place. Nothing moves.
//! - **Nothing lossless is touched**: every such event remains, byte for byte. An `execution:updated` that ends the
//!   execution counts as one, and so does an event whose fields cannot be told apart (a key that stands twice).
//! - **The latest wins only over what it says again.** A progress is skipped where a later one of the same type,
//!   execution, node, agent and knowledge base has every field that it had, and nothing lossless about the same subject
//!   (the node, the agent, the knowledge base, the whole execution) stands between. It may be skipped across a `log`.
//! - **Tokens are joined only to neighbours.** Tokens of one agent are joined where nothing else that is sent stands
//!   between them. A frame tells its reader that everything up to its offset has been seen; were a token held back
//!   across another frame, a reader cut off just after that frame would never get it.
//! - **A cut anywhere loses nothing**: whoever has got some of the frames and resumes after the last one's offset has,
//!   with what follows, the same state, the same text and every lossless event once.
//! - **The fold is the same**: a [`crate::Snapshot`] of what remains equals one of the whole run, as far as it holds
//!   every node ([`crate::snapshot::NODES_MAX`]).
//!
//! A run ends where a gap is told, because no event speaks for one on the other side. Time and memory are linear in the
//! run's bytes; a lossless event costs a look at its class, unless a progress before it could be skipped.

use crate::{Class, Limits, Prepared, fields::Fields, snapshot::status_of};
use std::collections::HashMap;

/// One frame that is sent.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Which event of the run it is; its place and its offset are this event's.
    pub index: usize,
    /// How many events it stands for besides itself: the frame's `skipped`. `None` where it is as published.
    pub skipped: Option<u64>,
    /// Tokens joined: this event with the text of those before it in front of its own. Everything else (`index`,
    /// `response`, `id`, `timestamp`) is the last event's. `None` where the event is sent as it is.
    pub joined: Option<Box<Prepared>>,
}

/// Conflates a run of consecutive events of one room; the module says what holds of the result.
///
/// `limits` bounds joined events as it bounds published ones.
pub fn conflate<'a>(events: impl IntoIterator<Item = &'a Prepared>, limits: &Limits) -> Vec<Kept> {
    let events: Vec<&Prepared> = events.into_iter().collect();
    let mut kept = Vec::with_capacity(events.len());
    let mut answer: Option<Answer<'_>> = None;
    for (index, (event, stands_for)) in events.iter().zip(latest(&events)).enumerate() {
        let Some(stands_for) = stands_for else { continue };
        match (&mut answer, Token::read(event)) {
            (Some(answer), Some(token)) if answer.takes(&token, limits) => answer.push(index, token),
            (_, token) => {
                kept.extend(answer.take().map(Answer::into_kept));
                match token {
                    Some(token) => answer = Some(Answer::new(index, token)),
                    None => kept.push(Kept { index, skipped: Some(stands_for).filter(|n| *n > 0), joined: None }),
                }
            }
        }
    }
    kept.extend(answer.map(Answer::into_kept));
    kept
}

/// For each event how many it stands for besides itself; `None` for those that a later one stands for.
fn latest(events: &[&Prepared]) -> Vec<Option<u64>> {
    let mut stands_for = vec![Some(0); events.len()];
    let mut open: HashMap<Matter<'_>, (usize, Fields<'_>)> = HashMap::new();
    let mut closed: HashMap<Subject<'_>, usize> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        match (event.class(), progress(event)) {
            (Class::LatestWins, Some(fields)) => {
                let earlier = open.remove(&Matter::of(event)).filter(|(at, earlier)| {
                    let is_closed = Subject::both(event).iter().any(|subject| closed.get(subject).is_some_and(|end| end > at));
                    !is_closed && fields.covers(earlier)
                });
                if let Some(skipped) = earlier.and_then(|(at, _)| stands_for[at].take()) {
                    stands_for[index] = Some(skipped + 1);
                }
                open.insert(Matter::of(event), (index, fields));
            }
            (Class::Mergeable, _) => {}
            _ if open.is_empty() => {}
            _ => {
                closed.insert(Subject::of(event), index);
            }
        }
    }
    stands_for
}

/// The fields of a latest-wins event, if a later one may stand for it.
fn progress(event: &Prepared) -> Option<Fields<'_>> {
    if event.class() != Class::LatestWins {
        return None;
    }
    let fields = Fields::read(&event.body)?;
    let ends = &*event.kind == "execution:updated" && status_of(fields.data("status")).is_some_and(|status| status.is_terminal());
    (!ends).then_some(fields)
}

/// Whom an event can stand for: the type and every id. The execution is among them, because a user's room has many.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Matter<'a> {
    kind: &'a str,
    ids: [Option<&'a str>; 4],
}

impl<'a> Matter<'a> {
    fn of(event: &'a Prepared) -> Self {
        let ids = [&event.execution_id, &event.node_id, &event.agent_id, &event.knowledge_base_id];
        Self { kind: &event.kind, ids: ids.map(Option::as_deref) }
    }
}

/// What an event is about: a lossless one parts the progress before it from that after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Subject<'a> {
    family: &'a str,
    execution: Option<&'a str>,
    id: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(event: &'a Prepared) -> Self {
        let family = event.kind.split_once(':').map_or(&*event.kind, |(family, _)| family);
        let id = match family {
            "node" => &event.node_id,
            "agent" => &event.agent_id,
            "kb" => &event.knowledge_base_id,
            _ => &None,
        };
        Self { family, execution: event.execution_id.as_deref(), id: id.as_deref() }
    }

    /// The event's own subject, and its execution as a whole.
    fn both(event: &'a Prepared) -> [Self; 2] {
        let own = Self::of(event);
        [own, Self { family: "execution", id: None, ..own }]
    }
}

/// A token that can be joined.
struct Token<'a> {
    event: &'a Prepared,
    fields: Fields<'a>,
    /// What stands between the quotes of `data.token`, escapes and all. Joining these is joining the strings; two halves
    /// of a character that were escaped apart even become one.
    text: &'a str,
}

impl<'a> Token<'a> {
    /// `None` for everything else, and for a token that is no string.
    fn read(event: &'a Prepared) -> Option<Self> {
        if event.class() != Class::Mergeable {
            return None;
        }
        let fields = Fields::read(&event.body)?;
        let text = fields.data("token")?.get().strip_prefix('"')?.strip_suffix('"')?;
        Some(Self { event, fields, text })
    }
}

/// Tokens of one agent, one after the other.
struct Answer<'a> {
    earlier: Vec<&'a str>,
    earlier_bytes: usize,
    index: usize,
    last: Token<'a>,
}

impl<'a> Answer<'a> {
    fn new(index: usize, first: Token<'a>) -> Self {
        Self { earlier: Vec::new(), earlier_bytes: 0, index, last: first }
    }

    fn takes(&self, next: &Token<'_>, limits: &Limits) -> bool {
        let bytes = self.earlier_bytes + self.last.text.len() + next.event.body.len();
        Matter::of(next.event) == Matter::of(self.last.event)
            && next.fields.continues(&self.last.fields)
            && bytes <= limits.event_bytes_max
    }

    fn push(&mut self, index: usize, next: Token<'a>) {
        self.earlier.push(self.last.text);
        self.earlier_bytes += self.last.text.len();
        (self.index, self.last) = (index, next);
    }

    fn into_kept(self) -> Kept {
        if self.earlier.is_empty() {
            return Kept { index: self.index, skipped: None, joined: None };
        }
        let published = &self.last.event.body;
        // The text is a part of the body, so that the two addresses tell where it begins.
        let begins = self.last.text.as_ptr() as usize - published.as_ptr() as usize;
        let mut body = Vec::with_capacity(published.len() + self.earlier_bytes);
        body.extend_from_slice(&published[..begins]);
        self.earlier.iter().for_each(|text| body.extend_from_slice(text.as_bytes()));
        body.extend_from_slice(&published[begins..]);
        let joined = Prepared { body: body.into(), ..self.last.event.clone() };
        Kept { index: self.index, skipped: Some(self.earlier.len() as u64), joined: Some(Box::new(joined)) }
    }
}

#[cfg(test)]
mod tests;
