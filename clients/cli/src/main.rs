//! The `weft` binary.

use clap::Parser as _;
use std::process::ExitCode;
use weft_cli::{
    exit::{Exit, Failure},
    run,
    settings::Settings,
    show::output::{Output, remark},
};

fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) => {
            // Where nobody reads the help any more there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let mut out = Output::stdout(settings.color);
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match started {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::away(error.to_string()))),
    };
    let ended = runtime.block_on(run(&settings, &mut out));
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    end(ended)
}

fn end(ended: Result<Exit, Failure>) -> ExitCode {
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                remark(&failure.message);
            }
            failure.exit.into()
        }
    }
}
