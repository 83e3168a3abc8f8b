//! Where the frames of a WebSocket end (RFC 6455 § 5.2): the only places at which the gateway may add one of its own.
//! Lengths are read, payloads are not.

/// The longest header: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;
const OPCODE_CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;

/// Follows the bytes that one direction has carried.
pub struct FrameFollower {
    /// The mask bit that every frame of this direction has (RFC 6455 § 5.1).
    mask_bit: u8,
    header: [u8; MAX_HEADER],
    /// Bytes of `header` that came.
    filled: usize,
    /// Bytes of the payload that are still to come.
    payload: u64,
    /// A close frame went by: nothing may follow it.
    closed: bool,
    /// What came is no WebSocket, so that nothing is known of its frames.
    lost: bool,
}

impl FrameFollower {
    pub fn of_caller() -> Self {
        Self::new(MASKED)
    }

    pub fn of_service() -> Self {
        Self::new(0)
    }

    fn new(mask_bit: u8) -> Self {
        Self { mask_bit, header: [0; MAX_HEADER], filled: 0, payload: 0, closed: false, lost: false }
    }

    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            let size = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
            self.payload -= size as u64;
            bytes = &bytes[size..];
            if let [next, rest @ ..] = bytes {
                self.header_byte(*next);
                bytes = rest;
            }
        }
    }

    /// Whether a close frame may be written behind what this direction has carried.
    pub fn may_close(&self) -> bool {
        self.filled == 0 && self.payload == 0 && !self.closed && !self.lost
    }

    fn header_byte(&mut self, byte: u8) {
        self.header[self.filled] = byte;
        self.filled += 1;
        if self.filled < 2 {
            return;
        }
        let (opcode, length) = (self.header[0] & 0x0f, self.header[1] & !MASKED);
        let (known, masked) = (matches!(opcode, 0..=2 | 8..=10), self.header[1] & MASKED == self.mask_bit);
        self.lost = self.closed || !known || !masked;
        let length_bytes = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if self.mask_bit == 0 { 0 } else { 4 };
        if self.filled == 2 + length_bytes + mask_bytes {
            let extended = self.header[2..2 + length_bytes].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            self.payload = if length_bytes == 0 { u64::from(length) } else { extended };
            self.filled = 0;
            self.closed = opcode == OPCODE_CLOSE;
        }
    }
}

/// A close frame (RFC 6455 § 5.5.1). `reason` is ASCII and short. `mask` of `None`: it goes to the caller.
pub fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    // Payloads of control frames have at most 125 bytes; codes and reasons of ours are far shorter.
    let length = u8::try_from(payload.len()).unwrap_or(125).min(125);
    let payload = &payload[..usize::from(length)];
    let head = [0x80 | OPCODE_CLOSE, length];
    match mask {
        None => [&head[..], payload].concat(),
        Some(mask) => {
            let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>();
            [&[head[0], MASKED | length], &mask[..], &masked].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::{
        Message, WebSocket,
        protocol::{Role, frame::coding::CloseCode},
    };

    use super::*;

    /// What the library writes, as one side of a connection.
    fn written(role: Role, messages: &[Message]) -> Vec<u8> {
        let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), role, None);
        for message in messages {
            socket.send(message.clone()).unwrap();
        }
        socket.into_inner().into_inner()
    }

    /// Frames of every form of length: where each ends, and nowhere else.
    #[test]
    fn frames_end_where_the_library_ends_them() {
        let messages: Vec<Message> =
            [0, 1, 125, 126, 65_535, 65_536].map(|size| Message::binary(vec![0x81; size])).into();
        for (role, mut follower) in
            [(Role::Client, FrameFollower::of_caller()), (Role::Server, FrameFollower::of_service())]
        {
            let ends: Vec<usize> = (0..=messages.len()).map(|count| written(role, &messages[..count]).len()).collect();
            let bytes = written(role, &messages);
            assert!(follower.may_close());
            for (at, byte) in bytes.iter().enumerate() {
                follower.follow(&[*byte]);
                assert_eq!(follower.may_close(), ends.contains(&(at + 1)), "{role:?} {at}");
            }
        }
        // However the bytes come.
        let bytes = written(Role::Client, &messages);
        for size in [1, 3, 130, 70_000, bytes.len()] {
            let mut follower = FrameFollower::of_caller();
            bytes.chunks(size).for_each(|chunk| follower.follow(chunk));
            assert!(follower.may_close(), "{size}");
        }
    }

    #[test]
    fn nothing_is_added_to_what_is_closed_or_no_websocket() {
        for bytes in [&b"\x88\x00"[..], b"\x88\x02\x03\xe8", b"early", b"\x83\x00", b"\x82\x80"] {
            let mut follower = FrameFollower::of_service();
            follower.follow(bytes);
            follower.follow(&[0; 64]);
            assert!(!follower.may_close(), "{bytes:?}");
        }
        // Reserved bits are for extensions.
        let mut follower = FrameFollower::of_service();
        follower.follow(b"\xc2\x01x");
        assert!(follower.may_close());
    }

    #[test]
    fn the_library_reads_our_close_frames() {
        for (role, mask) in [(Role::Client, None), (Role::Server, Some([1, 2, 3, 4]))] {
            let frame = std::io::Cursor::new(close_frame(1008, "token_revoked", mask));
            let message = WebSocket::from_raw_socket(frame, role, None).read().unwrap();
            let Message::Close(Some(close)) = message else { panic!("{message:?}") };
            assert_eq!((close.code, close.reason.as_str()), (CloseCode::Policy, "token_revoked"));
        }
    }
}
