//! What coordinators tell of their ledger.

use dropbear_wire::convert::account_message;
use dropbear_wire::v1;
use tonic::{Response, Status};

use super::{Conduct, Member};

#[tonic::async_trait]
impl v1::ledger_server::Ledger for Member {
    async fn groups(&self, _: tonic::Request<v1::GroupsRequest>) -> Result<Response<v1::GroupsReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn governance(
        &self,
        request: tonic::Request<v1::GovernanceRequest>,
    ) -> Result<Response<v1::GovernanceReply>, Status> {
        if self.conduct == Conduct::Mute {
            std::future::pending::<()>().await;
        }
        let state = self.ledger.state.lock().unwrap();
        let blocks = state.executed.range(request.get_ref().from_seq..).map(|(_, executed)| executed);
        let links = blocks.flat_map(|executed| {
            executed.governance.iter().map(|index| v1::GovernanceLink {
                attested: Some(self.attested(&executed.header)),
                leaf: Some(self.leaf(executed, *index)),
            })
        });
        Ok(Response::new(v1::GovernanceReply { links: links.collect() }))
    }

    async fn accounts(
        &self,
        request: tonic::Request<v1::AccountsRequest>,
    ) -> Result<Response<v1::AccountsReply>, Status> {
        let state = self.ledger.state.lock().unwrap();
        let state = state.chain.state();
        let accounts = state.accounts.of_group(&request.get_ref().group);
        let accounts = accounts.map(|(owner, account)| account_message(owner, account)).collect();
        Ok(Response::new(v1::AccountsReply { seq: state.seq, accounts }))
    }

    type BlocksStream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::Block, Status>> + Send>>;

    async fn blocks(&self, request: tonic::Request<v1::BlocksRequest>) -> Result<Response<Self::BlocksStream>, Status> {
        let state = self.ledger.state.lock().unwrap();
        let v1::BlocksRequest { from_seq, to_seq, .. } = *request.get_ref();
        let block = |(seq, payload): (&u64, &Vec<u8>)| {
            let attested = Some(self.attested(&state.executed[seq].header));
            Ok(v1::Block { attested, payload: payload.clone().into(), leaves: Vec::new() })
        };
        let blocks: Vec<_> = state.payloads.range(from_seq..=to_seq).map(block).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(blocks))))
    }
}
