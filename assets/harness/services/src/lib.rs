//! The services of tackroom's bundled harness: a tenant of a hosted platform, and the control plane it talks to.
//!
//! The tenant is the system under test: guard, strict authentication, registry and reverse proxy behave as they do
//! in production, on a real PostgreSQL and a real Redis. The control plane is a stub that answers what the replays
//! need and names everything else. [`peers_tool`] is the workspace runtime's side of peer discovery.

pub mod a2a;
pub mod activity;
pub mod auth;
pub mod bugs;
pub mod buildinfo;
pub mod canvas;
pub mod canvas_proxy;
pub mod config;
pub mod control_plane;
pub mod cors;
pub mod cp_proxy;
pub mod cp_stub;
pub mod entrypoint;
pub mod error;
pub mod galaxy;
pub mod guard;
pub mod health;
pub mod http;
pub mod liveness;
pub mod org_tokens;
pub mod peers_tool;
pub mod proxy;
pub mod rate_limit;
pub mod registry;
pub mod requests;
pub mod session;
pub mod store;
pub mod tenant;
pub mod workspaces;
