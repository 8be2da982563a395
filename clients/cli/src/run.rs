//! `weft run`: starts a workflow, watches it, asks what it asks.

mod bars;
mod keyboard;
mod order;
pub mod prompt;
mod watch;

use self::{bars::Bars, watch::Watch};
use crate::{
    exit::{Exit, Failure},
    follow::{Follow, Told, Wanted},
    gateway::Gateways,
    settings::{LineSettings, RunArgs},
    show::output::{Output, remark},
    tail::Paper,
};
use std::{collections::VecDeque, io::IsTerminal as _, time::Duration};
use weft_event::Room;

/// Following is asked for before the start, so that nothing is missed where the bus stores nothing; it is waited for no longer than
/// this, because it may be answered only when the execution is there.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// Runs a workflow.
///
/// # Errors
/// It cannot be started, or what goes on cannot be followed.
pub async fn run(args: &RunArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    let id = args.execution.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let room = Room::execution(&id).map_err(|invalid| Failure::usage(format!("--execution: {}", invalid.rule)))?;
    let gateways = Gateways::new(line)?;
    gateways.warning().iter().for_each(|warning| remark(warning));
    let order = order::read(&args.workflow, &args.input, &id, &gateways).await?;
    if args.detach {
        order.send(&gateways).await?;
        out.line(&id)?;
        out.flush()?;
        return Ok(Exit::Done);
    }
    let wanted = Wanted { rooms: vec![(room.name().to_owned(), Some("0".into()))], ..Wanted::default() };
    let mut follow = Follow::begin(gateways.clone(), wanted);
    let told = until_followed(&mut follow).await?;
    order.send(&gateways).await?;
    if !args.json {
        remark(&format!("{id} has started"));
    }
    let is_person = out.is_terminal && std::io::stderr().is_terminal() && !args.json;
    let colours = out.colours;
    let view = match is_person {
        true => View::Bars(Bars::new(out, &order.name)),
        false => View::Lines(Paper::new(out, args.json, false)),
    };
    Watch::new(id, gateways, follow, view, colours)?.until_end(told).await
}

/// What is told until following has begun.
async fn until_followed(follow: &mut Follow) -> Result<VecDeque<Told>, Failure> {
    let mut heard = VecDeque::new();
    let _ = tokio::time::timeout(FOLLOWED_WITHIN, async {
        while let Some(told) = follow.next().await {
            let is_enough = matches!(told, Told::Subscribed { .. } | Told::Failed(_));
            heard.push_back(told);
            if is_enough {
                break;
            }
        }
    })
    .await;
    match heard.pop_back() {
        Some(Told::Failed(failure)) => Err(failure),
        Some(last) => {
            heard.push_back(last);
            Ok(heard)
        }
        None => Ok(heard),
    }
}

/// How what goes on is shown.
pub enum View<'a> {
    /// Lines, or JSON.
    Lines(Paper<'a>),
    /// A bar for each node that runs, on a terminal.
    Bars(Bars<'a>),
}

impl View<'_> {
    fn tell(&mut self, told: Told) -> Result<(), Failure> {
        match self {
            Self::Lines(paper) => paper.tell(told),
            Self::Bars(bars) => bars.tell(told),
        }
    }

    fn remark(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Lines(paper) => paper.remark(text),
            Self::Bars(bars) => bars.remark(text),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Lines(paper) => paper.flush(),
            Self::Bars(_) => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        match self {
            Self::Lines(paper) => paper.end(),
            Self::Bars(bars) => bars.end(),
        }
    }

    /// Somebody is asked something, and nothing may be drawn over what is typed.
    fn pause(&mut self, is_asking: bool) -> Result<(), Failure> {
        match self {
            Self::Lines(paper) => paper.flush(),
            Self::Bars(bars) => bars.pause(is_asking),
        }
    }
}
