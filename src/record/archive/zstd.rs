//! Zstandard frames, one after the other.

use std::io::{self, BufRead, Read, Write};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, FrameCompressor};

/// The frames that hold nothing to be decoded, such as the index of a seekable file.
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;

/// Reads all frames; each that has a checksum is held to it.
pub(super) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    open: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
            open: false,
        }
    }

    /// Goes to the next frame; `false` where there is none.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut magic = [0; 4];
            self.source.read_exact(&mut magic)?;
            if !SKIPPABLE.contains(&u32::from_le_bytes(magic)) {
                let frame = magic.chain(&mut self.source);
                self.decoder.reset(frame).map_err(damaged)?;
                self.open = true;
                return Ok(true);
            }
            let mut length = [0; 4];
            self.source.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
        }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.open = false;
        let stated = self.decoder.get_checksum_from_data();
        if stated.is_some() && stated != self.decoder.get_calculated_checksum() {
            return Err(damaged("its contents have another checksum"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.open && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(damaged)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.end_frame()?,
                read => return Ok(read),
            }
        }
    }
}

fn damaged(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// Compresses all of a source into one frame with a checksum.
pub(super) fn compress(source: impl Read, drain: impl Write) -> io::Result<()> {
    let mut compressor = FrameCompressor::new(CompressionLevel::Fastest);
    compressor.set_source(Kept::new(source));
    compressor.set_drain(Kept::new(drain));
    compressor.compress();
    let source = compressor.take_source();
    let drain = compressor.take_drain();
    source.map_or(Ok(()), Kept::outcome)?;
    drain.map_or(Ok(()), Kept::outcome)
}

/// The compressor panics where a stream fails. So this one does not, and keeps the error for later.
struct Kept<S> {
    stream: S,
    error: Option<io::Error>,
}

impl<S> Kept<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            error: None,
        }
    }

    fn outcome(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

impl<S: Read> Read for Kept<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    return Ok(0);
                }
            }
        }
    }
}

impl<S: Write> Write for Kept<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.error.is_none()
            && let Err(error) = self.stream.write_all(bytes)
        {
            self.error = Some(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.error.is_none()
            && let Err(error) = self.stream.flush()
        {
            self.error = Some(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        compress(bytes, &mut packed).unwrap();
        packed
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Frames::new(bytes).read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let mut several = packed(b"one ");
        several.extend(SKIPPABLE.start().to_le_bytes());
        several.extend(3u32.to_le_bytes());
        several.extend(b"???");
        several.extend(packed(b""));
        several.extend(packed(b"two"));
        assert_eq!(unpacked(&several).unwrap(), b"one two");
        assert_eq!(unpacked(b"").unwrap(), b"");
        several.extend(b"more");
        assert!(unpacked(&several).is_err());
    }

    #[test]
    fn other_contents_than_the_checksum_says_are_noticed() {
        let mut bytes = packed(b"what was written down");
        let length = bytes.len();
        bytes[length - 1] ^= 1;
        let error = unpacked(&bytes).unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
    }

    #[test]
    fn a_stream_that_fails_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let error = compress(&b"x"[..], Full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let error = compress(Broken, io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(bytes in proptest::collection::vec(0u8..4, 0..5000)) {
            prop_assert_eq!(unpacked(&packed(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn damage_is_an_error_or_does_no_harm(at in 0usize..200, to: u8) {
            let text = b"a line that comes again and again\n".repeat(100);
            let mut bytes = packed(&text);
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(read) = unpacked(&bytes) {
                prop_assert_eq!(read, text);
            }
            let _ = unpacked(&bytes[..at]);
        }
    }
}
