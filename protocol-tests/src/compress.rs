//! The five codecs of record batches, in the framings that Kafka's own clients use.

use std::io::{Read, Write};

/// How the records of a batch are compressed: bits 0 to 2 of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    None,
    /// RFC 1952.
    Gzip,
    /// Blocks with the header of the Java library (xerial).
    Snappy,
    /// The LZ4 frame format, independent blocks.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// First bytes of the Java library's stream: magic, version 1, compatible with 1.
const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_BLOCK: usize = 32 * 1024;

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its bits in the attributes.
    pub fn bits(self) -> i16 {
        self as i16
    }

    /// The codec of these attributes; panics for the numbers that nobody has given out.
    pub fn of(attributes: i16) -> Self {
        *Self::ALL
            .get(usize::from(attributes as u16 & 7))
            .unwrap_or_else(|| panic!("no codec has the bits of attributes {attributes:#x}"))
    }

    /// Compresses.
    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder
                    .write_all(bytes)
                    .and_then(|()| encoder.finish())
                    .expect("gzip")
            }
            Self::Snappy => {
                let mut out = XERIAL.to_vec();
                for block in bytes.chunks(XERIAL_BLOCK) {
                    let block = snap::raw::Encoder::new()
                        .compress_vec(block)
                        .expect("snappy");
                    out.extend((block.len() as u32).to_be_bytes());
                    out.extend(block);
                }
                out
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).expect("lz4");
                encoder.finish().expect("lz4")
            }
            Self::Zstd => zstd::encode_all(bytes, 3).expect("zstd"),
        }
    }

    /// Decompresses; panics on anything that is not whole and well-formed.
    pub fn decompress(self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::None => out.extend_from_slice(bytes),
            Self::Gzip => {
                flate2::read::GzDecoder::new(bytes)
                    .read_to_end(&mut out)
                    .expect("gzip");
            }
            Self::Snappy => {
                let Some(mut rest) = bytes.strip_prefix(XERIAL) else {
                    return snap::raw::Decoder::new()
                        .decompress_vec(bytes)
                        .expect("raw snappy");
                };
                while !rest.is_empty() {
                    let (length, tail) = rest.split_at(4);
                    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
                    let (block, tail) = tail.split_at(length as usize);
                    out.extend(
                        snap::raw::Decoder::new()
                            .decompress_vec(block)
                            .expect("a snappy block"),
                    );
                    rest = tail;
                }
            }
            Self::Lz4 => {
                lz4_flex::frame::FrameDecoder::new(bytes)
                    .read_to_end(&mut out)
                    .expect("lz4");
            }
            Self::Zstd => out = zstd::decode_all(bytes).expect("zstd"),
        }
        out
    }
}
