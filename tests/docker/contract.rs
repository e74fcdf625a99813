//! The engine contract on a real daemon.

use crate::world::Corner;

tackroom::engine_contract!(Corner::made().await);
