//! Evidence of equivocation: two ballots of one owner and version that answer one request differently.
//!
//! It proves itself: both statements carry the accused's signature, and each vote's leaf, with its request id and the
//! vote's commitment, lies under its statement's root. The salt of a request's vote derives from the seed to which the
//! request id commits, so different commitments are different votes. An abstention contradicts nothing.

use dropbear_certificates::ballot::vote_leaf;
use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::{BallotStatement, Digest, PublicKey, Signature, StatementType, merkle};

use crate::entry::statement::{public_key, statement};
use crate::entry::{Invalid, KIND_EVIDENCE};

const STATEMENT_BYTES_MAX: usize = 512;
/// A batch has at most 1024 requests.
const PATH_MAX: usize = 10;

/// One vote with its owner's signature: a ballot's statement and the opening of one place under its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVote {
    /// What the owner signed.
    pub statement: BallotStatement,
    /// The owner's signature.
    pub signature: Signature,
    /// The vote's place in the batch.
    pub index: u64,
    /// Commitment to the vote.
    pub commitment: Digest,
    /// Commitment to the model's full output.
    pub output: Digest,
    /// The path from the vote's leaf to the statement's root.
    pub path: Vec<Digest>,
}

/// A report of equivocation, signed by a gateway or an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// Whoever reports it.
    pub reporter: PublicKey,
    /// The request that was answered twice.
    pub request: Digest,
    /// The two answers.
    pub votes: [SignedVote; 2],
}

statement!(Evidence, KIND_EVIDENCE, "evidence", reporter, Box::new);

impl SignedVote {
    fn write(&self, out: &mut Encoder) {
        out.array(6).bytes(&self.statement.to_bytes()).bytes(&self.signature).uint(self.index);
        out.digest(&self.commitment).digest(&self.output).array(self.path.len());
        for node in &self.path {
            out.digest(node);
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(6)?;
        let statement = BallotStatement::from_bytes(input.bytes(STATEMENT_BYTES_MAX)?)?;
        let (signature, index) = (input.fixed()?, input.uint()?);
        let (commitment, output) = (input.digest()?, input.digest()?);
        let nodes = input.array(PATH_MAX)?;
        let path = (0..nodes).map(|_| input.digest()).collect::<Result<_, _>>()?;
        Ok(Self { statement, signature, index, commitment, output, path })
    }

    /// Checks that the owner signed this answer to `request`.
    fn check(&self, request: &Digest) -> Result<(), Invalid> {
        let statement = &self.statement;
        let leaf = vote_leaf(request, Some(&self.commitment), &self.output);
        let root = merkle::root_from_path(leaf, self.index, statement.count, &self.path);
        if root != Some(statement.votes) {
            return Err(Invalid::Evidence("a vote does not lie under its ballot's root"));
        }
        let signed = StatementType::Ballot.verifies(&statement.owner, &statement.to_bytes(), &self.signature);
        if signed { Ok(()) } else { Err(Invalid::Evidence("a ballot is not signed by its owner")) }
    }
}

impl Evidence {
    /// The owner's key that signed both.
    #[must_use]
    pub const fn accused(&self) -> &PublicKey {
        &self.votes[0].statement.owner
    }

    /// The group in which it answered.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.votes[0].statement.group
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(5).uint(1).digest(&self.genesis).bytes(self.reporter.as_bytes()).digest(&self.request).array(2);
        self.votes.iter().for_each(|vote| vote.write(&mut out));
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(5)?;
        input.key(1)?;
        let (genesis, reporter, request) = (input.digest()?, public_key(&mut input)?, input.digest()?);
        input.array_of(2)?;
        let votes = [SignedVote::read(&mut input)?, SignedVote::read(&mut input)?];
        input.finish()?;
        Ok(Self { genesis, reporter, request, votes })
    }

    fn fields(&self) -> Result<(), Invalid> {
        let [one, two] = &self.votes;
        let (a, b) = (&one.statement, &two.statement);
        if a.owner != b.owner {
            return Err(Invalid::Evidence("the ballots are of two owners"));
        }
        if a.version != b.version {
            return Err(Invalid::Evidence("the ballots are of two versions, which may differ"));
        }
        if a.genesis != self.genesis || b.genesis != self.genesis || a.group != b.group {
            return Err(Invalid::Evidence("a ballot is of another market or group"));
        }
        if one.commitment == two.commitment {
            return Err(Invalid::Evidence("both ballots say the same"));
        }
        one.check(&self.request)?;
        two.check(&self.request)
    }
}
