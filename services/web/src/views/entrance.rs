//! The pages to sign in and to sign up.

use maud::{Markup, html};

use super::{brand, hidden, none, page};

/// The two ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    SignIn,
    SignUp,
}

impl Entrance {
    /// Where `users` creates what this form is about.
    pub(crate) fn collection(self) -> &'static str {
        match self {
            Self::SignIn => "sessions",
            Self::SignUp => "accounts",
        }
    }
}

/// The page with the form. `notice` tells why the last attempt failed.
pub(crate) fn entrance_page(
    entrance: Entrance,
    username: &str,
    notice: Option<String>,
    proof: &str,
) -> Markup {
    let (title, button, action, completion) = match entrance {
        Entrance::SignIn => ("Welcome back", "Sign in", "/sign-in", "current-password"),
        Entrance::SignUp => ("Make a fresh start", "Sign up", "/sign-up", "new-password"),
    };
    let hint = match entrance {
        Entrance::SignIn => none(),
        Entrance::SignUp => html! { p.hint id="hint" { "At least 8 characters." } },
    };
    let has_hint = entrance == Entrance::SignUp;
    let least = if has_hint { Some("8") } else { None };
    page(
        button,
        false,
        html! {
            body.single {
                main.card id="main" {
                    (brand())
                    h1 { (title) }
                    @if let Some(notice) = notice { p.notice.bad role="alert" id="notice" { (notice) } }
                    form method="post" action=(action) {
                        (hidden("proof", proof))
                        label for="username" { "Username" }
                        input id="username" name="username" value=(username) required
                            maxlength="100" autocomplete="username" autocapitalize="none"
                            spellcheck="false" autofocus[username.is_empty()];
                        label for="password" { "Password" }
                        input id="password" name="password" type="password" required
                            minlength=[least] maxlength="128" autocomplete=(completion)
                        autofocus[!username.is_empty()]
                            aria-describedby=[has_hint.then_some("hint")];
                        (hint)
                        button.button.wide type="submit" { (button) }
                    }
                    p.other {
                        @match entrance {
                            Entrance::SignIn => { "New here? " a href="/sign-up" { "Sign up" } }
                            Entrance::SignUp => { "Signed up already? " a href="/sign-in" { "Sign in" } }
                        }
                    }
                }
            }
        },
    )
}
