//! Text with holes for ports that are unknown until they are bound.
//!
//! The planner makes it from templates.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::terms::Name;

/// Text with holes for ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text {
    /// Its parts in order; never two literals in a row.
    pub pieces: Vec<Piece>,
}

/// A part of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Piece {
    /// Literal text.
    Literal(String),
    /// The number of a port of a service, known once it is bound.
    Port {
        /// The service that has the port.
        service: Name,
        /// The index into its ports.
        port: usize,
    },
}

impl Text {
    /// Appends literal text.
    pub fn push_str(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Piece::Literal(last)) = self.pieces.last_mut() {
            last.push_str(text);
        } else {
            self.pieces.push(Piece::Literal(text.to_string()));
        }
    }

    /// Appends another text.
    pub fn push(&mut self, text: &Text) {
        for piece in &text.pieces {
            match piece {
                Piece::Literal(literal) => self.push_str(literal),
                Piece::Port { .. } => self.pieces.push(piece.clone()),
            }
        }
    }

    /// Appends a port.
    pub fn push_port(&mut self, service: Name, port: usize) {
        self.pieces.push(Piece::Port { service, port });
    }

    /// The text with every port filled in.
    ///
    /// # Errors
    /// The first service for which `port` has no number.
    pub fn render(&self, port: impl Fn(&Name, usize) -> Option<u16>) -> Result<String, Name> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Port { service, port: index } => {
                    let number = port(service, *index).ok_or_else(|| service.clone())?;
                    out.push_str(&number.to_string());
                }
            }
        }
        Ok(out)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut out = Self::default();
        out.push_str(text);
        out
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// An unknown port is shown as `?`.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => f.write_str(text)?,
                Piece::Port { .. } => f.write_str("?")?,
            }
        }
        Ok(())
    }
}
