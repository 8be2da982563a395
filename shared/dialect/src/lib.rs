//! How clients speak: bytes to commands, events to frames. Pure.
