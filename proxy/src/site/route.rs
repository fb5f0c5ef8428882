//! Which site and which route a request is for.
//!
//! The site: the one with exactly this host, else the one with a wildcard for it (`*` is one
//! label, as in certificates), else the one without hosts. A request that none of them takes is
//! for nobody. Where two sites claim the same, the first in the file has it.
//!
//! The route, among those of the site that the request meets:
//!
//! 1. by the exact path, before any prefix;
//! 2. by a longer prefix, before a shorter one;
//! 3. with more conditions: methods and clients count once each, fields and parameters each;
//! 4. in the order of the file.
//!
//! A route for other methods is passed over like one whose other conditions fail. Only when the
//! method was all that stood between a request and some route, and no other takes it, is that told
//! (405). Methods are compared as they are written: `GET` does not bring `HEAD` along.
//!
//! # Cost
//!
//! A lookup allocates nothing. Paths are sorted, and each knows the longest other one that it
//! begins with, so that a search by halves finds the last path that is not behind the request's,
//! and all that can hold the request lie on the way up from there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};

use super::target::Asked;
use crate::plan::site::{HostPattern, Match, PathRule, Route, Site};
use crate::proto::path::{compared, unescape};

/// The sites of one listener, ready to be asked: `R` is a route, or more that goes with one. Built
/// once for each plan.
#[derive(Debug)]
pub struct Table<R = Arc<Route>> {
    /// By host, sorted.
    exact: Box<[(Box<str>, usize)]>,
    /// By what follows the first label, sorted.
    wildcard: Box<[(Box<str>, usize)]>,
    /// For all other hosts.
    rest: Option<usize>,
    sites: Box<[Routes<R>]>,
}

/// The routes of one site, ready to be asked.
#[derive(Debug)]
pub struct Routes<R = Arc<Route>> {
    site: Arc<Site>,
    /// By path, sorted.
    nodes: Box<[Node<R>]>,
}

/// The routes with one path.
#[derive(Debug)]
struct Node<R> {
    path: Box<str>,
    /// For this path alone, first the one that is asked first.
    exact: Vec<R>,
    /// For this path and what is below it, likewise.
    prefix: Vec<R>,
    /// The node with the longest path that this one's begins with.
    above: Option<usize>,
}

/// What routes are told apart by.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// Host, path and query.
    pub asked: &'a Asked,
    /// The fields as the client sent them.
    pub headers: &'a HeaderMap,
    /// For whom it is: the client, not the proxies between.
    pub client: IpAddr,
}

/// What a request has found.
#[derive(Clone, Debug)]
pub enum Found<'a, R = Arc<Route>> {
    /// Its route.
    Route(&'a R),
    /// None is for it (404).
    NoRoute,
    /// None is for it, but some would be with one of these methods (405).
    Method(Vec<Method>),
}

/// Why a route is not for a request: the first condition that fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Miss<'a> {
    /// Its path is another.
    Path,
    /// It wants this field, or another value of it.
    Field(&'a HeaderName),
    /// It wants this parameter of the query, or another value of it.
    Parameter(&'a str),
    /// It is for other clients.
    Client,
    /// It is for other methods, and all else holds.
    Method,
}

impl<R: AsRef<Route>> Table<R> {
    /// A table of `sites`, in the order of the file, with what `make` makes of each of their routes.
    #[must_use]
    pub fn new(sites: &[Arc<Site>], make: impl Fn(&Arc<Site>, &Arc<Route>) -> R) -> Self {
        let (mut exact, mut wildcard) = (BTreeMap::new(), BTreeMap::new());
        let mut rest = None;
        for (nth, site) in sites.iter().enumerate() {
            if site.hosts.is_empty() {
                rest.get_or_insert(nth);
            }
            for host in &site.hosts {
                let (map, host) = match host {
                    HostPattern::Exact(host) => (&mut exact, host),
                    HostPattern::Wildcard(host) => (&mut wildcard, host),
                };
                map.entry(host.to_ascii_lowercase().into()).or_insert(nth);
            }
        }
        Self {
            exact: exact.into_iter().collect(),
            wildcard: wildcard.into_iter().collect(),
            rest,
            sites: sites.iter().map(|site| Routes::new(site, &make)).collect(),
        }
    }

    /// The site for `host`, which is spelled as by [`Asked::host`]; `None` if nobody serves it
    /// (404).
    #[must_use]
    pub fn site(&self, host: &str) -> Option<&Routes<R>> {
        let exact = look_up(&self.exact, host);
        let found = exact.or_else(|| self.by_wildcard(host)).or(self.rest)?;
        self.sites.get(found)
    }

    fn by_wildcard(&self, host: &str) -> Option<usize> {
        if self.wildcard.is_empty() {
            return None;
        }
        let (label, rest) = host.split_once('.')?;
        look_up(&self.wildcard, rest).filter(|_| !label.is_empty())
    }
}

fn look_up(sorted: &[(Box<str>, usize)], host: &str) -> Option<usize> {
    let at = sorted.binary_search_by(|(known, _)| known.as_ref().cmp(host));
    sorted.get(at.ok()?).map(|(_, nth)| *nth)
}

impl<R: AsRef<Route>> Routes<R> {
    fn new(site: &Arc<Site>, make: &impl Fn(&Arc<Site>, &Arc<Route>) -> R) -> Self {
        let mut nodes: BTreeMap<_, Node<R>> = BTreeMap::new();
        for route in &site.routes {
            let (PathRule::Exact(path) | PathRule::Prefix(path)) = &route.matches.path;
            let path = compared(path);
            let new = Node::new(&path);
            let node = nodes.entry(path).or_insert(new);
            match &route.matches.path {
                PathRule::Exact(_) => node.exact.push(make(site, route)),
                PathRule::Prefix(_) => node.prefix.push(make(site, route)),
            }
        }
        let mut nodes: Box<[Node<R>]> = nodes.into_values().collect();
        link(&mut nodes);
        Self {
            site: Arc::clone(site),
            nodes,
        }
    }

    /// Whose they are.
    #[must_use]
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// The route for a request.
    #[must_use]
    pub fn find(&self, question: &Question<'_>) -> Found<'_, R> {
        let mut is_by_method = false;
        let path = compared(question.asked.path());
        let found = self.candidates(&path).find(|route| {
            let missed = condition_missed(&route.as_ref().matches, question);
            is_by_method |= missed == Some(Miss::Method);
            missed.is_none()
        });
        match found {
            Some(route) => Found::Route(route),
            None if is_by_method => Found::Method(self.allowed(question)),
            None => Found::NoRoute,
        }
    }

    /// All routes whose path holds `path`, first the one that is asked first.
    fn candidates<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a R> {
        // What is about the server as a whole goes where all paths go.
        let key = if path == "*" { "/" } else { path };
        let behind = self.nodes.partition_point(|node| node.path.as_ref() <= key);
        let last = behind.checked_sub(1).and_then(|last| self.nodes.get(last));
        let nodes = std::iter::successors(last, |node| self.nodes.get(node.above?));
        nodes.flat_map(move |node| node.candidates(path))
    }

    fn allowed(&self, question: &Question<'_>) -> Vec<Method> {
        let mut allowed = Vec::new();
        let path = compared(question.asked.path());
        for route in self.candidates(&path) {
            let matches = &route.as_ref().matches;
            if condition_missed(matches, question) != Some(Miss::Method) {
                continue;
            }
            for method in &matches.methods {
                if !allowed.contains(method) {
                    allowed.push(method.clone());
                }
            }
        }
        allowed
    }
}

impl<R> Node<R> {
    fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            exact: Vec::new(),
            prefix: Vec::new(),
            above: None,
        }
    }

    fn candidates<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a R> + use<'a, R> {
        let exact: &[_] = match *self.path == *path {
            true => &self.exact,
            false => &[],
        };
        let prefix: &[_] = match holds(&self.path, path) {
            true => &self.prefix,
            false => &[],
        };
        exact.iter().chain(prefix)
    }
}

/// Sorts each node's routes, and tells the nodes, which are sorted, who is above them.
fn link<R: AsRef<Route>>(nodes: &mut [Node<R>]) {
    let mut way: Vec<(usize, Box<str>)> = Vec::new();
    for (nth, node) in nodes.iter_mut().enumerate() {
        // The sort is stable, so that equals stay in the order of the file.
        for routes in [&mut node.exact, &mut node.prefix] {
            routes.sort_by_key(|route| std::cmp::Reverse(conditions(&route.as_ref().matches)));
        }
        while way
            .last()
            .is_some_and(|(_, path)| !node.path.starts_with(&**path))
        {
            way.pop();
        }
        node.above = way.last().map(|(above, _)| *above);
        way.push((nth, node.path.clone()));
    }
}

/// How many conditions there are beside the path.
fn conditions(matches: &Match) -> usize {
    usize::from(!matches.methods.is_empty())
        + usize::from(!matches.clients.is_empty())
        + matches.headers.len()
        + matches.query.len()
}

/// Whether `path` is `prefix` or below it.
pub(super) fn holds(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
        None => path == "*" && prefix == "/",
    }
}

/// Why a request does not meet `matches`; `None` if it does, though another route may come first.
#[must_use]
pub fn missed<'a>(matches: &'a Match, question: &Question<'_>) -> Option<Miss<'a>> {
    let path = compared(question.asked.path());
    let is_held = match &matches.path {
        PathRule::Exact(exact) => compared(exact) == path,
        PathRule::Prefix(prefix) => holds(&compared(prefix), &path),
    };
    if !is_held {
        return Some(Miss::Path);
    }
    condition_missed(matches, question)
}

/// The same for a route whose path holds the request's.
fn condition_missed<'a>(matches: &'a Match, question: &Question<'_>) -> Option<Miss<'a>> {
    for (name, value) in &matches.headers {
        if !has_field(question.headers, name, value.as_ref()) {
            return Some(Miss::Field(name));
        }
    }
    for (name, value) in &matches.query {
        if !has_parameter(question.asked.query(), name, value.as_deref()) {
            return Some(Miss::Parameter(name));
        }
    }
    if !is_from(matches, question.client) {
        return Some(Miss::Client);
    }
    let is_by_method = matches.methods.is_empty() || matches.methods.contains(question.method);
    (!is_by_method).then_some(Miss::Method)
}

fn has_field(headers: &HeaderMap, name: &HeaderName, value: Option<&HeaderValue>) -> bool {
    match value {
        None => headers.contains_key(name),
        Some(value) => headers.get_all(name).iter().any(|one| one == value),
    }
}

/// Parameters are compared as forms write them: without escapes, a plus for a space.
fn has_parameter(query: Option<&str>, name: &str, value: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query.split('&').any(|pair| {
            let (said, is) = pair.split_once('=').unwrap_or((pair, ""));
            is_form_of(said, name) && value.is_none_or(|value| is_form_of(is, value))
        })
    })
}

fn is_form_of(form: &str, text: &str) -> bool {
    let mut rest = form.as_bytes();
    let decoded = std::iter::from_fn(|| {
        if let Some((byte, behind)) = unescape(rest) {
            rest = behind;
            return Some(byte);
        }
        let (first, behind) = rest.split_first()?;
        rest = behind;
        Some(if *first == b'+' { b' ' } else { *first })
    });
    decoded.eq(text.bytes())
}

fn is_from(matches: &Match, client: IpAddr) -> bool {
    let clients = &matches.clients;
    clients.is_empty()
        || clients
            .iter()
            .any(|range| range.contains(&client.to_canonical()))
}

#[cfg(test)]
mod tests;
