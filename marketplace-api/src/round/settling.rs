//! From decided requests to answers: directly, or through the ledger.

use std::sync::Arc;

use dropbear_certificates::StatementType;
use dropbear_consensus::{Entry, Submission, SubmittedRequest};

use super::Round;
use crate::ask::{Answer, Failure};
use crate::lane::Item;
use crate::metrics;
use crate::pressure::patience;
use crate::settle::{self, Claim, Settlement, Work};

/// A request as the ledger gets it.
pub(super) fn submitted(item: &Item) -> SubmittedRequest {
    SubmittedRequest {
        request: item.minted.request.clone(),
        signature: item.minted.signature,
        vote_salt: item.minted.vote_salt,
    }
}

impl Round {
    /// Settles the open requests that are decided.
    pub(super) fn settle(&mut self) {
        self.lane.metrics.stages.took(metrics::COLLECT, self.begun.elapsed());
        self.asking.learn();
        let mut claims = Vec::new();
        for item in self.asking.collector.open().collect::<Vec<_>>() {
            if !self.asking.collector.is_decided(item) {
                continue;
            }
            let finding = self.asking.collector.finding(item).clone();
            if finding.is_unreadable() {
                self.answer(item, Err(Failure::Unreadable(Box::new(finding))));
            } else if self.lane.certified {
                let known = finding.votes.into_iter().map(|(vote, _)| vote).collect();
                claims.push(Claim { item, minted: Arc::clone(&self.items[item].minted), known });
            } else {
                let naming = self.items[item].minted.naming;
                self.answer(item, Ok(Answer { naming, finding, output: None, certificate: None }));
            }
        }
        if self.lane.certified {
            if claims.is_empty() {
                self.asking.collector.exhausted();
            } else {
                self.submit(claims);
            }
        }
    }

    fn submit(&mut self, claims: Vec<Claim>) {
        let (places, ballots) = self.asking.collector.counted().map(|(place, ballot)| (place, ballot.clone())).unzip();
        let submission = Submission::sign(
            StatementType::Submission,
            self.lane.market.trust.digest(),
            &self.lane.market.key,
            self.lane.group.clone(),
            self.asking.collector.charter(),
            self.items.iter().map(submitted).collect(),
            ballots,
        );
        let entry = Entry::Submission(Box::new(submission)).to_bytes();
        let ids = self.items.iter().map(|item| item.minted.naming.request_id).collect();
        self.submitted = Some(places);
        self.asking.collector.exhausted();
        let oldest = self.items.iter().map(|item| item.admitted.elapsed()).max().unwrap_or_default();
        let patience = patience(oldest, self.lane.in_flight().saturating_sub(self.items.len()));
        let work = Work { entry, ids, own: None, patience, deadline: self.asking.deadline };
        self.settling.spawn(settle::run(Arc::clone(&self.lane), work, claims));
    }

    /// Takes what became of a submission.
    pub(super) fn settled(&mut self, settlements: Vec<Settlement>) {
        for settlement in settlements {
            match settlement {
                Settlement::Answered(item, answered) => self.answer(item, *answered),
                // What was submitted is worth nothing under the charter that is in force now.
                Settlement::StaleCharter => self.submitted = None,
                Settlement::Closed(item, failure) => self.closed(item, *failure),
                Settlement::Insufficient => {
                    self.submitted = None;
                    self.asking.ask_rest();
                }
                Settlement::Nothing(problems) => self.unattested = problems,
            }
        }
        // A charter may have changed meanwhile.
        self.follow();
    }

    /// A request was decided before, upon votes that are not at hand: those who were not asked yet may have given them.
    fn closed(&mut self, item: usize, failure: Failure) {
        self.submitted = None;
        self.asking.ask_rest();
        if !self.asking.is_awaited() {
            self.answer(item, Err(failure));
        }
    }
}
