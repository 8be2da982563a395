//! Holds client connections and delivers the events of the rooms they follow.
