//! Content a block at a time: nearly all of it can be copied as it is, and to see that, every octet is looked at in the same
//! way, which compilers turn into vector instructions.

#![allow(clippy::indexing_slicing, reason = "an octet names one of 256 places, and the rest is done by the compiler")]

/// Octets looked at together: one, and as many behind it as whole vectors hold. Few enough that what is counted fits an octet.
pub(super) const BLOCK: usize = 1 + 192;

/// Where more has to be inserted into a block than this, it is worth looking at each octet in turn.
const SPARSE: u8 = 4;

/// Room for what [`insert`] makes of a block: before each octet a line end's other half and a dot, and a word at the end.
pub(super) const GROWN: usize = 3 * BLOCK + 1;

/// What stands before a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    LineEnd,
    Other,
}

/// What a block needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it is sent as it is, but for a CR at its end.
    Nothing,
    /// A look at its lines: there is little to insert, or an octet that may not be sent.
    Lines,
    /// Much has to be inserted.
    Much,
}

/// Looks through a block of at most [`BLOCK`] octets.
pub(super) fn needs(block: &[u8], before: Before, eight_bit: bool) -> Needs {
    let Some((&first, rest)) = block.split_first() else { return Needs::Nothing };
    let forbidden = if eight_bit { 0 } else { 0x80 };
    let dot = first == b'.' && before == Before::LineEnd;
    let mut inserted = u8::from(dot || first == b'\n');
    let mut refused = u8::from(first == 0) | first & forbidden;
    for (&previous, &octet) in block.iter().zip(rest) {
        let unpaired = (previous == b'\r') != (octet == b'\n');
        let dot = (previous == b'\n') & (octet == b'.');
        inserted = inserted.wrapping_add(u8::from(unpaired) | u8::from(dot));
        refused |= u8::from(octet == 0) | octet & forbidden;
    }
    match (inserted, refused) {
        (0, 0) => Needs::Nothing,
        (_, 0) if inserted > SPARSE => Needs::Much,
        _ => Needs::Lines,
    }
}

/// Makes every CR and LF a CRLF and doubles leading dots, without a branch that depends on an octet. Gives how many octets
/// were written; a CR at the end is among them, though what it is only the next octet shows.
pub(super) fn insert(block: &[u8], before: Before, out: &mut [u8; GROWN]) -> usize {
    let mut end = 0;
    let mut previous = if before == Before::LineEnd { LF } else { OTHER };
    for &octet in block {
        let class = CLASS[usize::from(octet)];
        let Inserted { octets, count } = INSERTED[usize::from(previous << 2 | class) % INSERTED.len()];
        // The octets as a number, the first one lowest.
        let word = u32::from(octets) | u32::from(octet) << (8 * count);
        if let Some(space) = out.get_mut(end..end + 4) {
            space.copy_from_slice(&word.to_le_bytes());
        }
        end += 1 + usize::from(count);
        previous = class;
    }
    end
}

const OTHER: u8 = 0;
const DOT: u8 = 1;
const CR: u8 = 2;
const LF: u8 = 3;

const CLASS: [u8; 256] = {
    let mut classes = [OTHER; 256];
    classes[b'.' as usize] = DOT;
    classes[b'\r' as usize] = CR;
    classes[b'\n' as usize] = LF;
    classes
};

/// Octets that come before one, the first of them lowest, and how many.
#[derive(Clone, Copy)]
struct Inserted {
    octets: u16,
    count: u8,
}

/// What comes before an octet, by the class of the one before it and its own.
const INSERTED: [Inserted; 16] = {
    let mut all = [Inserted { octets: 0, count: 0 }; 16];
    let mut index = 0;
    while index < all.len() {
        let (previous, class) = (index as u8 >> 2, index as u8 & 3);
        all[index] = match (previous, class) {
            (CR, LF) => Inserted { octets: 0, count: 0 },
            (CR, DOT) => Inserted { octets: u16::from_le_bytes([b'\n', b'.']), count: 2 },
            (CR, _) => Inserted { octets: b'\n' as u16, count: 1 },
            (_, LF) => Inserted { octets: b'\r' as u16, count: 1 },
            (LF, DOT) => Inserted { octets: b'.' as u16, count: 1 },
            _ => Inserted { octets: 0, count: 0 },
        };
        index += 1;
    }
    all
};
