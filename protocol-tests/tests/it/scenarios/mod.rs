//! Stories over several APIs: restarts, crashes, many clients at once.

mod crash;
mod crowd;
mod disk_full;
mod groups;
mod restart;
