//! Asks whoever starts without a verb for what `setup` needs, and sets the tunnel up.

use std::{fmt::Display, io::IsTerminal, str::FromStr};

use anyhow::bail;
use clap::Parser;

use super::{
    config::{Admin, Folders},
    hostkey::ask,
    place::Place,
    settings::Settings,
    setup::{SetupArgs, setup},
};
use crate::{commands, services::Manager};

/// `setup` and its flags, as a command line of its own.
#[derive(Debug, Parser)]
struct Setup {
    #[command(flatten)]
    args: SetupArgs,
}

/// Where the tunnel may be set up already.
#[derive(Debug, Parser)]
struct Here {
    #[command(flatten)]
    folders: Folders,
}

/// The whole story.
///
/// # Errors
/// Nobody is at the terminal; or a step of `setup` failed.
pub(super) async fn guide() -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "nobody is here to be asked. Run: {}\n\
             Without --apply it prints what to do on the VPS; --help has every verb",
            commands::tunnel(
                "setup --host VPS --user ai-tunnel --host-key-fingerprint SHA256:... --apply root@VPS --yes"
            )
        );
    }
    println!("This joins the machine to your VPS; Ctrl-C ends it, and a second run goes on.\n");
    let place = Place::new(&Here::try_parse_from(["tunnel"])?.folders)?;
    let known = Settings::load(&place.folder).ok();
    let words = words(known.as_ref(), Manager::detect().is_ok(), &mut ask)?;
    println!("\nThe same without these questions: {}\n", commands::tunnel(&words.join(" ")));
    setup(&Setup::try_parse_from(words)?.args).await
}

/// The words of the command line. `known` is what the tunnel was set up with before.
fn words(
    known: Option<&Settings>,
    has_manager: bool,
    ask: &mut impl FnMut(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<String>> {
    let or = |usual: &str, of: &dyn Fn(&Settings) -> String| known.map_or_else(|| usual.to_owned(), of);
    let checked = |host: &str, user: &str| {
        let forwards = Vec::new();
        Settings { host: host.to_owned(), user: user.to_owned(), port: 22, forwards }.check()
    };
    let host: String = answer(ask, "The VPS's name or address", &or("", &|it| it.host.clone()), |host| {
        checked(host, "ai-tunnel")
    })?;
    let own = "The tunnel's own account there, which nobody else uses";
    let user: String =
        answer(ask, own, &or("ai-tunnel", &|it| it.user.clone()), |user| checked(&host, user))?;
    let port: std::num::NonZeroU16 =
        answer(ask, "The port of its sshd", &or("22", &|it| it.port.to_string()), |_| Ok(()))?;
    let mut words = ["setup", "--host", &host, "--user", &user, "--port"].map(str::to_owned).to_vec();
    words.push(port.to_string());
    if let Some([claude, ollama]) = known.map(|it| it.forwards.as_slice()) {
        words.extend(["--claude-port".to_owned(), claude.remote.to_string()]);
        words.extend(["--ollama-port".to_owned(), ollama.remote.to_string()]);
    }
    if yes(ask, "Shall the VPS be set up too, over your own ssh? Otherwise you are told what to do there")? {
        let at = if port.get() == 22 { String::new() } else { format!(":{port}") };
        let admin = "Your account there, which is root or may use `sudo -n`";
        let not_the_tunnels = |admin: &str| match admin.parse::<Admin>()?.user() {
            Some(admin) if admin == user => Err(format!("{user} is to be the tunnel's own")),
            _ => Ok(()),
        };
        let admin: String = answer(ask, admin, &format!("root@{host}{at}"), not_the_tunnels)?;
        words.extend(["--apply".to_owned(), admin]);
    }
    if has_manager && yes(ask, "Shall launchd or systemd keep the tunnel up from then on?")? {
        words.push("--install".to_owned());
    }
    Ok(words)
}

/// An answer that can be used; asks until there is one.
fn answer<T: FromStr<Err: Display>>(
    ask: &mut impl FnMut(&str) -> anyhow::Result<String>,
    question: &str,
    usual: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> anyhow::Result<T> {
    loop {
        let shown = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
        let said = ask(&format!("{question}{shown}: "))?;
        let said = if said.is_empty() { usual } else { &said };
        match check(said).and_then(|()| said.parse().map_err(|error: T::Err| error.to_string())) {
            Ok(answer) => return Ok(answer),
            Err(why) => println!("  {why}"),
        }
    }
}

fn yes(ask: &mut impl FnMut(&str) -> anyhow::Result<String>, question: &str) -> anyhow::Result<bool> {
    loop {
        match ask(&format!("{question} [yes/no] "))?.as_str() {
            "yes" | "y" => return Ok(true),
            "no" | "n" => return Ok(false),
            _ => println!("  yes or no?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::settings::Forward;

    /// What comes of these answers, and the questions.
    fn asked(known: Option<&Settings>, answers: &[&str]) -> (String, Vec<String>) {
        let (mut answers, mut questions) = (answers.iter(), Vec::new());
        let words = words(known, true, &mut |question| {
            questions.push(question.to_owned());
            answers.next().map(|&answer| answer.to_owned()).ok_or_else(|| anyhow::anyhow!("the end"))
        });
        let words = words.unwrap_or_else(|_| panic!("more is asked: {questions:?}"));
        assert_eq!(answers.next(), None, "{questions:?}");
        (words.join(" "), questions)
    }

    #[test]
    fn answers_become_the_command_and_what_is_usual_needs_none() {
        let (words, questions) = asked(None, &["vps.example.org", "", "", "yes", "", "no"]);
        assert_eq!(
            words,
            "setup --host vps.example.org --user ai-tunnel --port 22 --apply root@vps.example.org"
        );
        assert_eq!(questions[1], "The tunnel's own account there, which nobody else uses [ai-tunnel]: ");
        Setup::try_parse_from(words.split(' ')).unwrap();
        let (words, _) = asked(None, &["192.0.2.1", "t", "2222", "yes", "", "y"]);
        assert_eq!(
            words,
            "setup --host 192.0.2.1 --user t --port 2222 --apply root@192.0.2.1:2222 --install"
        );
    }

    #[test]
    fn what_cannot_be_used_is_asked_again() {
        let answers = [
            "", "-x", "vps", "root", "t", "0", "ssh", "22", "perhaps", "yes", "t@vps", "a b", "me@vps", "no",
        ];
        let (words, questions) = asked(None, &answers);
        assert_eq!(words, "setup --host vps --user t --port 22 --apply me@vps");
        assert_eq!(questions.len(), answers.len());
    }

    #[test]
    fn a_second_run_offers_what_the_first_one_was_given() {
        let forwards = [(6050, 1), (6091, 2)].map(|(remote, local)| Forward { remote, local }).to_vec();
        let known = Settings { host: "vps".to_owned(), user: "t".to_owned(), port: 2222, forwards };
        let (words, _) = asked(Some(&known), &["", "", "", "no", "no"]);
        assert_eq!(words, "setup --host vps --user t --port 2222 --claude-port 6050 --ollama-port 6091");
    }
}
