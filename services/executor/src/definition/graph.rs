//! Rules that only show when all nodes are seen: no cycles, and places that name what is there by then.

use super::{Fault, fault};
use crate::{
    template::{Place, Template},
    workflow::{Node, Step, Workflow},
};
use std::collections::HashSet;

pub(super) fn check(workflow: &Workflow) -> Result<(), Fault> {
    let ancestors = ancestors(workflow)?;
    for (field, text) in env_texts("env", &workflow.env) {
        check_places(workflow, &HashSet::new(), &field, text)?;
    }
    for (at, node) in workflow.nodes.iter().enumerate() {
        for (field, text) in texts(node) {
            check_places(workflow, &ancestors[at], &format!("nodes.{}.{field}", node.id), text)?;
        }
        if let Some(agent) = &node.tool_of {
            let is_agent = |other: &Node| other.id == *agent && matches!(other.step, Step::Tokens(_));
            if !workflow.nodes.iter().any(is_agent) {
                return fault(format!("nodes.{}.tool_of", node.id), format!("there is no tokens node '{agent}'"));
            }
        }
    }
    Ok(())
}

/// For each node, the nodes that have completed before it begins.
fn ancestors(workflow: &Workflow) -> Result<Vec<HashSet<usize>>, Fault> {
    let nodes = &workflow.nodes;
    let mut known: Vec<Option<HashSet<usize>>> = vec![None; nodes.len()];
    loop {
        let mut learnt = false;
        for (at, node) in nodes.iter().enumerate() {
            if known[at].is_some() || node.depends_on.iter().any(|needed| known[*needed].is_none()) {
                continue;
            }
            let mut before: HashSet<usize> = node.depends_on.iter().copied().collect();
            before.extend(node.depends_on.iter().filter_map(|needed| known[*needed].as_ref()).flatten());
            (known[at], learnt) = (Some(before), true);
        }
        if !learnt {
            break;
        }
    }
    match known.iter().position(Option::is_none) {
        Some(stuck) => {
            fault(format!("nodes.{}.depends_on", nodes[stuck].id), format!("forms a cycle: {}", cycle(workflow, &known, stuck)))
        }
        None => Ok(known.into_iter().flatten().collect()),
    }
}

/// The cycle that is met by walking from `from` along dependencies which never complete.
fn cycle(workflow: &Workflow, known: &[Option<HashSet<usize>>], from: usize) -> String {
    let mut walk = vec![from];
    loop {
        let here = walk[walk.len() - 1];
        let Some(next) = workflow.nodes[here].depends_on.iter().copied().find(|needed| known[*needed].is_none()) else { break };
        let seen = walk.iter().position(|at| *at == next);
        walk.push(next);
        if let Some(start) = seen {
            walk.drain(..start);
            break;
        }
    }
    let ids: Vec<&str> = walk.iter().map(|at| workflow.nodes[*at].id.as_str()).collect();
    ids.join(" -> ")
}

fn check_places(workflow: &Workflow, before: &HashSet<usize>, field: &str, text: &Template) -> Result<(), Fault> {
    for place in text.places() {
        match place {
            Place::ExecutionId => {}
            Place::Input(name) if workflow.inputs.contains_key(name) => {}
            Place::Input(name) => return fault(field, format!("uses inputs.{name}, which the workflow does not declare")),
            Place::Output { node, .. } => match workflow.nodes.iter().position(|other| other.id == *node) {
                None => return fault(field, format!("uses nodes.{node}.output, but there is no such node")),
                Some(at) if !before.contains(&at) => {
                    return fault(field, format!("uses nodes.{node}.output without depending on '{node}'"));
                }
                Some(_) => {}
            },
        }
    }
    Ok(())
}

fn env_texts<'a>(field: &'a str, env: &'a indexmap::IndexMap<String, Template>) -> impl Iterator<Item = (String, &'a Template)> {
    env.iter().map(move |(name, text)| (format!("{field}.{name}"), text))
}

/// Every text of a node that has places, with its field.
fn texts(node: &Node) -> Vec<(String, &Template)> {
    let mut texts: Vec<(String, &Template)> = env_texts("env", &node.env).collect();
    match &node.step {
        Step::Command(_) | Step::Sleep(_) => {}
        Step::Http(http) => {
            texts.push(("http.url".into(), &http.url));
            texts.extend(http.headers.iter().map(|(name, text)| (format!("http.headers.{name}"), text)));
            texts.extend(http.body.iter().map(|text| ("http.body".into(), text)));
            texts.extend(http.expect_contains.iter().map(|text| ("http.expect.contains".into(), text)));
        }
        Step::Prompt(prompt) => texts.push(("prompt.text".into(), &prompt.text)),
        Step::Tokens(tokens) => texts.push(("tokens.text".into(), &tokens.text)),
    }
    texts
}
