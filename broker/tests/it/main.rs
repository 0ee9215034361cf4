//! The tests of the `trestle` crate from outside: the rules of the house, and the documents that are
//! generated from the code.

mod docs;
mod source;
mod tidy;
