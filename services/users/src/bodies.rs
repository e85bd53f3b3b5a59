//! The JSON bodies of requests and answers, with the limits of their fields.

use kit::MAX_INTEGER;

/// The longest username or name, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The shortest new password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 8;

/// The longest password, in characters.
pub const MAX_PASSWORD_CHARS: usize = 128;

kit::body! {
    /// An account to create.
    pub struct NewAccount {
        /// The key in paths; it never changes.
        pub username: String = username(MAX_NAME_CHARS) => "ann",
        /// The displayed name; by default the username.
        pub name: Option<String> = text(MAX_NAME_CHARS) => "Ann",
        /// The person's new password.
        pub password: String =
            password(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS) => "correct horse",
    }
}

kit::body! {
    /// A proof that the caller is a person.
    pub struct SignIn {
        /// The person's username.
        pub username: String = text(MAX_NAME_CHARS) => "ann",
        /// The person's password.
        pub password: String = password(1..=MAX_PASSWORD_CHARS) => "correct horse",
    }
}

kit::body! {
    /// A person to create.
    pub struct NewUser {
        /// The key in paths; it never changes.
        pub username: String = username(MAX_NAME_CHARS) => "ann",
        /// The displayed name.
        pub name: String = text(MAX_NAME_CHARS) => "Ann",
        /// Whether the person is verified; by default not.
        pub verified: Option<bool> = flag_or_bit() => true,
        /// The number; by default the database chooses one.
        pub id: Option<i64> = integer(1..=MAX_INTEGER) => 7,
    }
}

kit::body! {
    /// A change of a person; an absent field keeps its value.
    pub struct UserChange {
        /// The new name.
        pub name: Option<String> = text(MAX_NAME_CHARS) => "Ann B.",
        /// Whether the person is verified.
        pub verified: Option<bool> = flag_or_bit() => true,
    }
    read_only: username, id;
}

kit::answer! {
    /// A person, with or without an account.
    #[derive(serde::Deserialize)]
    pub struct User {
        /// The person's number; never reused.
        pub id: i64 = 7,
        /// The displayed name.
        pub name: String = "Ann",
        /// 1 when verified, else 0.
        pub verified: i64 = 1,
    }
}

kit::answer! {
    /// The secret of a new session, for its person only.
    pub struct NewSession {
        /// What a session is looked up by; only the client keeps it.
        pub session: String = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        /// Seconds until the session ends.
        pub expires_in: u64 = 2_592_000,
        /// The account that signed in.
        pub username: String = "ann",
        /// The displayed name.
        pub name: String = "Ann",
    }
}

kit::answer! {
    /// The person of a session, with a token.
    pub struct SessionBody {
        /// The account of the session.
        pub username: String = "ann",
        /// The displayed name.
        pub name: String = "Ann",
        /// A signed statement of the username, for every service.
        pub token: String = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjB9.c2ln",
        /// Seconds until the token expires.
        pub expires_in: u64 = 300,
    }
}
