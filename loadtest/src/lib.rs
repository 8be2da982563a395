//! Load on real gateways: what a delivery and a connection cost.
