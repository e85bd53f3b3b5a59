//! Text that may hold ports which are not known before they are bound.
//!
//! It does not parse templates: the planner makes these from them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::terms::Name;

/// Text with holes for ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text {
    /// Its parts, in order; two literal parts never stand beside each other.
    pub pieces: Vec<Piece>,
}

/// A part of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// The number of a port of a service, known once it is bound.
    Port {
        /// The service.
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

    /// The text with every port filled in, or the service whose port is not known.
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

/// Ports that are not known yet stand as `?`.
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
