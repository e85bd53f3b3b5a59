//! The tool as its users meet it: a real binary, in workspaces generated somewhere
//! else, with real builds, processes and sockets.
//!
//! Details of the parts are tested beside them; here is what a user would notice.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod accounts;
mod adoption;
mod again;
mod answers;
mod arguments;
mod as_cargo;
mod brought;
mod builds;
mod by_hand;
mod calls;
mod clues;
mod commands;
mod contexts;
mod control;
mod cycles;
mod early_ends;
mod end_to_end;
mod endings;
mod env_file;
mod environment;
mod failures;
mod faulty_runs;
mod foreground;
mod found;
mod generated;
mod graphs;
mod guardian;
mod handover;
mod health;
mod holding;
mod install;
mod interrupts;
mod kept_flags;
mod launcher;
mod linking;
mod logs;
mod manifests;
mod mcp;
mod membership;
mod moves;
mod names;
mod once;
mod pauses;
mod places;
mod ports;
mod programs;
mod proxies;
mod readers;
mod readiness;
mod records;
mod sizes;
mod soak;
mod status;
mod stops;
mod surroundings;
mod terminal;
mod timings;
mod tutorial;
mod two_at_once;
mod untrusted;
mod unusable;
mod users;
mod verify_deps;
mod versions;
mod watch;
mod watch_ends;
mod watched;
