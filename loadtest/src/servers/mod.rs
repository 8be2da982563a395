//! What is loaded and weighed: gateways and brokers as processes of their own, looked at from outside.

pub(crate) mod broker;
pub(crate) mod child;
pub(crate) mod fleet_key;
pub(crate) mod gateway;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod sampler;
