//! The place of one execution among those of this process.

use crate::{
    executions::{Execution, Executions},
    refusal::Refusal,
};
use std::sync::Arc;
use weft_event::Status;

/// Holds an execution's id and its running slot; given back however it ends, also by a panic.
#[must_use]
pub struct Place {
    executions: Arc<Executions>,
    execution: Arc<Execution>,
    has_begun: bool,
}

impl Place {
    /// Takes an execution in.
    pub fn take(executions: &Arc<Executions>, execution: Arc<Execution>) -> Result<Self, Refusal> {
        executions.admit(&execution)?;
        Ok(Self { executions: executions.clone(), execution, has_begun: false })
    }

    /// Whose place it is.
    #[must_use]
    pub fn execution(&self) -> &Arc<Execution> {
        &self.execution
    }

    /// From here on the execution is remembered after its end; before, its id is free again.
    pub fn begin(&mut self) {
        self.has_begun = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.has_begun {
            self.executions.forget(&self.execution.id);
            return;
        }
        if !self.execution.status().is_terminal() {
            // Only a panic comes here, and the next order must not pay for it.
            let error = Some("a fault of the executor".to_owned());
            self.execution.ended(Status::Failed, format!("{:.3}", jiff::Timestamp::now()), error, None);
        }
        self.executions.ended(&self.execution.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{executions::tests::execution, refusal::Code};

    #[tokio::test]
    async fn a_start_that_fails_gives_its_id_and_its_slot_back() {
        let executions = Arc::new(Executions::new(1, 1));
        let place = Place::take(&executions, execution("e")).expect("admitted");
        let busy = Place::take(&executions, execution("f")).map(|_| ()).map_err(|refusal| refusal.code);
        assert_eq!((busy, executions.running()), (Err(Code::Busy), 1));
        let fault = tokio::spawn(async move {
            let _place = place;
            panic!("a fault while starting");
        });
        assert!(fault.await.expect_err("panics").is_panic());
        assert_eq!((executions.running(), executions.all().len()), (0, 0));
        drop(Place::take(&executions, execution("e")).expect("the id is free again"));
    }

    #[tokio::test]
    async fn a_run_that_panics_is_remembered_as_failed() {
        let executions = Arc::new(Executions::new(1, 1));
        let mut place = Place::take(&executions, execution("e")).expect("admitted");
        place.begin();
        let fault = tokio::spawn(async move {
            let _place = place;
            panic!("a fault while running");
        });
        assert!(fault.await.expect_err("panics").is_panic());
        assert_eq!(executions.running(), 0);
        assert_eq!(executions.get("e").map(|execution| execution.status()).expect("remembered"), Status::Failed);
    }
}
