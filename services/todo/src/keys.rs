//! Whose list a request is about: the keys of owners and lists in the database.

use kit::is_conflict;

use crate::error::Error;

/// Marks the keys of accounts. No other key begins with it, so callers without a token never reach
/// the lists of an account.
pub(crate) const ACCOUNT_MARK: char = '\u{1}';

/// Who owns lists. An account and an open owner of the same name have different lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    username: String,
    account: bool,
}

/// The key of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListKey {
    /// The user who owns it.
    pub owner: Owner,
    /// Its name, unique per user.
    pub list: String,
}

impl Owner {
    /// An owner; `account` if the caller has proved to be the person of that name.
    ///
    /// # Errors
    /// When no open owner can have that name.
    pub fn new(username: String, account: bool) -> Result<Self, Error> {
        if !account && username.starts_with(ACCOUNT_MARK) {
            return Err(Error::NoLists(username));
        }
        Ok(Self { username, account })
    }

    /// The name in paths.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The name in the database.
    pub(crate) fn key(&self) -> String {
        if self.account {
            format!("{ACCOUNT_MARK}{}", self.username)
        } else {
            self.username.clone()
        }
    }
}

impl ListKey {
    /// The error for an item that the list does not have.
    pub fn missing_item(&self, id: impl ToString) -> Error {
        Error::NoItem { list: self.list.clone(), id: id.to_string() }
    }

    pub(crate) fn missing(&self) -> Error {
        Error::NoList(self.clone())
    }

    pub(crate) fn taken_or(&self, error: sqlx::Error) -> Error {
        if is_conflict(&error) { Error::ListTaken(self.clone()) } else { Error::Storage(error) }
    }
}
