//! Completion scripts and the manual page, made from the same definition as `--help`.

use crate::{args::Cli, output};
use clap::CommandFactory as _;
use clap_complete::Shell;

/// A completion script.
pub fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "shadowswap", &mut script);
    output::out(String::from_utf8_lossy(&script).trim_end());
}

/// The manual page: the program, then each subcommand.
pub fn manual() {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    // Writing to memory cannot fail.
    drop(clap_mangen::Man::new(command.clone()).render(&mut page));
    for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
        let name = format!("shadowswap {}", sub.get_name());
        let man = clap_mangen::Man::new(sub.clone().display_name(name.clone()));
        page.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
        drop(man.render_description_section(&mut page).and_then(|()| man.render_options_section(&mut page)));
    }
    output::out(String::from_utf8_lossy(&page).trim_end());
}
