//! The newest attestation that was heard of every member: what they are told when they start and may have forgotten it.

use dropbear_certificates::Digest;

use crate::relayed::Attestation;

/// By place in the committee.
#[derive(Debug)]
pub(crate) struct Heard {
    newest: Vec<Option<Attestation>>,
    /// Those that came since they were last made durable.
    unsaved: Vec<bool>,
}

impl Heard {
    /// With what was made durable before.
    pub(crate) fn new(newest: Vec<Option<Attestation>>) -> Self {
        Self { unsaved: vec![false; newest.len()], newest }
    }

    /// Takes a member's attestation; gives the one that contradicts it, if the member signed another header at its seq.
    pub(crate) fn hear(&mut self, member: usize, attestation: Attestation) -> Option<Attestation> {
        let digest = |attestation: &Attestation| Digest::of(&attestation.header.to_bytes());
        let slot = &mut self.newest[member];
        match slot {
            Some(old) if old.header.seq > attestation.header.seq => None,
            Some(old) if old.header.seq == attestation.header.seq => {
                (digest(old) != digest(&attestation)).then_some(attestation)
            }
            _ => {
                *slot = Some(attestation);
                self.unsaved[member] = true;
                None
            }
        }
    }

    /// A member's newest attestation.
    pub(crate) fn of(&self, member: usize) -> Option<&Attestation> {
        self.newest.get(member)?.as_ref()
    }

    /// What is to be made durable now.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(u32, Vec<u8>)> {
        let fresh = self.newest.iter().enumerate().zip(&mut self.unsaved);
        let fresh = fresh.filter_map(|((member, newest), unsaved)| Some((member, newest.as_ref()?, unsaved)));
        fresh
            .filter_map(|(member, newest, unsaved)| {
                std::mem::take(unsaved).then(|| (member as u32, newest.to_bytes().to_vec()))
            })
            .collect()
    }
}
