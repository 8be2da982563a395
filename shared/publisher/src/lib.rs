//! What an executor uses to publish events: rooms, validation, retry, helpers by event type.
