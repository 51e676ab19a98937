//! A page of memory for the root key: locked into RAM, left out of core dumps, wiped before it is given back.
//!
//! The only module with `unsafe` in this crate, because mapping and locking memory have no safe interface.
//! Where the kernel refuses to lock (RLIMIT_MEMLOCK), the page is used unlocked: a key that may be swapped is
//! better than a gateway that does not start, and the systemd unit raises the limit.
#![expect(
    unsafe_code,
    reason = "mmap, mlock and madvise have no safe form; the page is owned by this module alone"
)]

use std::ffi::c_void;
use std::fmt;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize;

/// Length of the root key, in bytes.
pub(crate) const SECRET_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;

/// 32 bytes in a page of their own.
pub(crate) struct Locked {
    page: NonNull<c_void>,
}

// SAFETY: the page is written only in `new` and `drop`, both with exclusive access; in between it is read only.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// Moves a secret into a page; the source is wiped.
    pub(crate) fn new(secret: &mut [u8; SECRET_BYTES]) -> std::io::Result<Self> {
        // SAFETY: a fresh private anonymous mapping at an address the kernel chooses; nothing else refers to it.
        let page = unsafe {
            mmap_anonymous(ptr::null_mut(), PAGE_BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        let page = NonNull::new(page).ok_or(std::io::ErrorKind::OutOfMemory)?;
        // SAFETY: page is PAGE_BYTES long and mapped until drop. Both calls are best effort.
        let protected = unsafe {
            mlock(page.as_ptr(), PAGE_BYTES)
                .and(madvise(page.as_ptr(), PAGE_BYTES, Advice::LinuxDontDump))
                .and(madvise(page.as_ptr(), PAGE_BYTES, Advice::LinuxWipeOnFork))
        };
        if let Err(error) = protected {
            tracing::warn!(%error, "the root key's memory could not be locked");
        }
        // SAFETY: page is writable, larger than the secret, and does not overlap it.
        unsafe { ptr::copy_nonoverlapping(secret.as_ptr(), page.as_ptr().cast::<u8>(), SECRET_BYTES) };
        secret.zeroize();
        Ok(Self { page })
    }

    /// The secret.
    pub(crate) fn expose(&self) -> &[u8; SECRET_BYTES] {
        // SAFETY: the page is mapped, initialised in `new`, aligned for bytes, and not written while `self` lives.
        unsafe { &*self.page.as_ptr().cast::<[u8; SECRET_BYTES]>() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: exclusive access; the slice covers the mapped page, which is unmapped once, here.
        unsafe {
            std::slice::from_raw_parts_mut(self.page.as_ptr().cast::<u8>(), PAGE_BYTES).zeroize();
            if let Err(error) = munmap(self.page.as_ptr(), PAGE_BYTES) {
                tracing::error!(%error, "the root key's page could not be unmapped");
            }
        }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_the_secret_and_wipes_its_source() {
        let mut secret = [7_u8; SECRET_BYTES];
        let locked = Locked::new(&mut secret).unwrap();
        assert_eq!(secret, [0; SECRET_BYTES]);
        assert_eq!(locked.expose(), &[7; SECRET_BYTES]);
        assert_eq!(format!("{locked:?}"), "Locked(redacted)");
    }

    #[test]
    fn its_page_is_not_dumped() {
        let locked = Locked::new(&mut [1; SECRET_BYTES]).unwrap();
        let start = format!("{:x}-", locked.expose().as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let flags = maps.split(&start).nth(1).unwrap().lines().find(|l| l.starts_with("VmFlags")).unwrap();
        assert!(flags.contains(" dd"), "{flags}");
    }
}
