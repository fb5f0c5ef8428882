//! What the plan says of one forward proxy, made ready for one worker.

use std::rc::Rc;
use std::sync::Arc;

use crate::net::guard::Guard;
use crate::plan::{Forward, Plan};
use crate::serve::context::Terms;
use crate::upstream::dial::Way;
use crate::upstream::groups::Means;
use crate::upstream::parent::Parent;

/// A connection keeps the rules it began with.
pub struct Rules {
    /// What is the same for every connection.
    pub terms: Rc<Terms>,
    /// The part of the plan that is meant.
    pub forward: Arc<Forward>,
    /// The way out.
    pub way: Way,
}

impl Rules {
    /// Makes `forward` of `plan` ready for the worker that `means` belong to.
    #[must_use]
    pub fn new(plan: Arc<Plan>, forward: Arc<Forward>, means: &Means<'_>) -> Self {
        let parent = forward.parent.as_ref().map(|upstream| Parent {
            group: means.parent(upstream),
            by: upstream.by.clone(),
            answer: plan.timeouts.answer,
        });
        let way = Way {
            judge: Arc::clone(means.judge),
            guard: Guard::new(means.own.clone(), forward.allow_private),
            parent,
        };
        Self {
            terms: Rc::new(Terms::new(plan, "forward", &forward.name, means.ticks)),
            way,
            forward,
        }
    }
}
