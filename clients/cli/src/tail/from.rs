//! `--from`: where each room begins.

use crate::exit::Failure;
use weft_event::Resume;

/// Each room with the offset to go on after; `None` is now.
///
/// # Errors
/// A place that cannot be one, or one offset for several rooms.
pub fn places(rooms: &[String], from: &[String]) -> Result<Vec<(String, Option<String>)>, Failure> {
    let mut places: Vec<(String, Option<String>)> = rooms.iter().map(|room| (room.clone(), None)).collect();
    for text in from {
        match text.split_once('=') {
            Some((room, place)) => {
                let Some((_, offset)) = places.iter_mut().find(|(name, _)| name == room) else {
                    return Err(Failure::usage(format!("--from: {room} is none of the rooms that are followed")));
                };
                *offset = read(place)?;
            }
            None => {
                let place = read(text)?;
                if place.as_deref().is_some_and(|place| place != "0") && rooms.len() > 1 {
                    return Err(Failure::usage("--from: an offset is of one room; with several it is ROOM=<offset>"));
                }
                places.iter_mut().for_each(|(_, offset)| offset.clone_from(&place));
            }
        }
    }
    Ok(places)
}

fn read(place: &str) -> Result<Option<String>, Failure> {
    match place {
        "now" => Ok(None),
        "start" => Ok(Some("0".into())),
        offset if offset.parse::<Resume>().is_ok() => Ok(Some(offset.to_owned())),
        other => Err(Failure::usage(format!("--from: must be start, now or an offset that was given out, not {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_has_its_place() {
        let rooms = ["execution:e".to_owned(), "user:u".to_owned()];
        let of = |from: &[&str], rooms: &[String]| {
            let from: Vec<String> = from.iter().map(|text| (*text).to_owned()).collect();
            places(rooms, &from)
                .map(|places| places.into_iter().map(|(_, offset)| offset.unwrap_or("now".into())).collect::<Vec<_>>())
        };
        for (from, expected) in [
            (&["now"][..], ["now", "now"]),
            (&["start"], ["0", "0"]),
            (&["0"], ["0", "0"]),
            (&["start", "user:u=now"], ["0", "now"]),
            (&["execution:e=5f0c.1.00000001", "user:u=5f0c.2.00000001.2"], ["5f0c.1.00000001", "5f0c.2.00000001.2"]),
        ] {
            assert_eq!(of(from, &rooms).expect("valid"), expected, "{from:?}");
        }
        assert_eq!(of(&["5f0c.1.00000001"], &rooms[..1]).expect("valid"), ["5f0c.1.00000001"]);
        for from in [&["yesterday"][..], &["5f0c.1.00000001"], &["kb:k=start"], &["execution:e=x"], &[""]] {
            let refused = of(from, &rooms).expect_err(from[0]);
            assert!(refused.message.starts_with("--from: "), "{refused}");
        }
    }
}
