//! Kafka's compression codecs, as streams both ways.
//!
//! Any ratio is legal (a megabyte of one byte shrinks 18,000 times in zstd), so nothing is judged by
//! its ratio; the reader above counts what comes out and stops at its limit. Snappy alone unpacks
//! block by block, and a block's claimed size is checked before it is believed.

use std::io::{self, BufRead, BufReader, Read, Write};

use bytes::Buf;

use crate::config::CompressionType;

/// What a batch is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Nothing.
    None,
    /// Gzip members.
    Gzip,
    /// Snappy, raw or in the framing of the Java library ("xerial").
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Codec {
    /// The codec in a batch's attributes; `None` for a number that means nothing.
    pub fn from_attributes(attributes: i16) -> Option<Self> {
        match attributes & 7 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number in a batch's attributes.
    pub fn attribute(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

impl From<CompressionType> for Codec {
    fn from(kind: CompressionType) -> Self {
        match kind {
            CompressionType::Uncompressed => Self::None,
            CompressionType::Gzip(_) => Self::Gzip,
            CompressionType::Snappy => Self::Snappy,
            CompressionType::Lz4(_) => Self::Lz4,
            CompressionType::Zstd(_) => Self::Zstd,
        }
    }
}

/// A reader of the unpacked bytes. `max_bytes` bounds what a single snappy block may claim.
pub fn decoder<'a>(
    codec: Codec,
    packed: &'a [u8],
    max_bytes: usize,
) -> io::Result<Box<dyn BufRead + 'a>> {
    Ok(match codec {
        Codec::None => Box::new(packed),
        Codec::Gzip => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(packed))),
        Codec::Snappy => Box::new(BufReader::new(Snappy::new(packed, max_bytes)?)),
        Codec::Lz4 => Box::new(BufReader::new(lz4_flex::frame::FrameDecoder::new(packed))),
        Codec::Zstd => Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(
            packed,
        )?)),
    })
}

/// `bytes`, packed at the codec's own level.
pub fn encode(codec: Codec, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let kind = match codec {
        Codec::None => CompressionType::Uncompressed,
        Codec::Gzip => CompressionType::Gzip(-1),
        Codec::Snappy => CompressionType::Snappy,
        Codec::Lz4 => CompressionType::Lz4(9),
        Codec::Zstd => CompressionType::Zstd(0),
    };
    let mut out = Vec::new();
    pack(kind, &mut &*bytes, bytes.len() as u64, &mut out)?;
    Ok(out)
}

/// Packs all of `input`, which has exactly `size_bytes`, into `out`, in constant memory.
///
/// # Errors
/// The input's, and those of `out`.
pub fn pack(
    kind: CompressionType,
    input: &mut dyn Read,
    size_bytes: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    match kind {
        CompressionType::Uncompressed => {
            io::copy(input, out)?;
        }
        CompressionType::Gzip(level) => {
            let level =
                u32::try_from(level).map_or_else(|_| Default::default(), flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            io::copy(input, &mut encoder)?;
            encoder.finish()?;
        }
        CompressionType::Snappy => pack_snappy(input, out)?,
        // The library has one level.
        CompressionType::Lz4(_) => {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
            io::copy(input, &mut encoder)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        CompressionType::Zstd(level) => {
            let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
            // High levels take memory for gigabytes unless they know that there is less.
            encoder.set_pledged_src_size(Some(size_bytes))?;
            io::copy(input, &mut encoder)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

/// As the Java library frames it, which every client reads.
fn pack_snappy(input: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&XERIAL_MAGIC)?;
    out.write_all(&1u32.to_be_bytes())?;
    out.write_all(&1u32.to_be_bytes())?;
    let mut encoder = snap::raw::Encoder::new();
    let mut block = Vec::with_capacity(XERIAL_BLOCK_BYTES);
    loop {
        block.clear();
        let read = (&mut *input)
            .take(XERIAL_BLOCK_BYTES as u64)
            .read_to_end(&mut block)?;
        if read == 0 {
            return Ok(());
        }
        let packed = encoder.compress_vec(&block).map_err(io::Error::other)?;
        out.write_all(&(packed.len() as u32).to_be_bytes())?;
        out.write_all(&packed)?;
    }
}

/// Bytes of a block in the Java library's framing.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// Header of the Java library's framing: magic, version and oldest compatible version.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;

/// A snappy copy element of three bytes yields at most 64: nothing honest claims more than this.
const SNAPPY_MAX_RATIO: usize = 32;

struct Snappy<'a> {
    packed: &'a [u8],
    framed: bool,
    max_bytes: usize,
    block: Vec<u8>,
    read: usize,
}

impl<'a> Snappy<'a> {
    fn new(packed: &'a [u8], max_bytes: usize) -> io::Result<Self> {
        let framed = packed.starts_with(&XERIAL_MAGIC);
        let packed = if framed {
            packed
                .get(XERIAL_HEADER_BYTES..)
                .ok_or(io::ErrorKind::UnexpectedEof)?
        } else {
            packed
        };
        Ok(Self {
            packed,
            framed,
            max_bytes,
            block: Vec::new(),
            read: 0,
        })
    }

    /// Unpacks the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        if self.packed.is_empty() {
            return Ok(false);
        }
        let length = if self.framed {
            if self.packed.len() < 4 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.packed.get_u32() as usize
        } else {
            self.packed.len()
        };
        let block = self
            .packed
            .get(..length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.packed = &self.packed[length..];
        let claimed = snap::raw::decompress_len(block).map_err(io::Error::other)?;
        if claimed > self.max_bytes || claimed > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
            return Err(invalid("a snappy block claims more than it can hold"));
        }
        self.block.resize(claimed, 0);
        snap::raw::Decoder::new()
            .decompress(block, &mut self.block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.read = 0;
        Ok(true)
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.block.len() - self.read);
        out[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
