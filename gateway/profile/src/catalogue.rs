//! The profiles a gateway knows, by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{LoadError, Profile};

/// A device folder as the build embedded it.
struct Embedded {
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the golden test"))]
    folder: &'static str,
    profile: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the golden test"))]
    readme: &'static str,
    /// (file name, document), by file name.
    vectors: &'static [(&'static str, &'static str)],
}

// `static EMBEDDED: &[Embedded]`, one for each folder of firmware-profiles/devices; see build.rs.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Profiles by id. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    profiles: BTreeMap<String, Arc<Profile>>,
}

impl Catalogue {
    /// The profiles that ship: every folder of `firmware-profiles/devices`, each checked against its vectors
    /// (a few milliseconds).
    ///
    /// # Errors
    /// [`LoadError`]: a defect of the build, which its golden test would have shown.
    pub fn builtin() -> Result<Self, LoadError> {
        let mut catalogue = Self::default();
        for device in EMBEDDED {
            catalogue.insert(Profile::load(device.profile, device.vectors.iter().copied())?)?;
        }
        Ok(catalogue)
    }

    /// The profile of this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(id)
    }

    /// Adds a profile.
    ///
    /// # Errors
    /// [`LoadError::Taken`]: the id is there already, and stays as it was.
    pub fn insert(&mut self, profile: Profile) -> Result<(), LoadError> {
        if self.profiles.contains_key(profile.id()) {
            return Err(LoadError::Taken { id: profile.id().to_owned() });
        }
        self.profiles.insert(profile.id().to_owned(), Arc::new(profile));
        Ok(())
    }

    /// The ids, sorted: for a message that says what there is.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// All profiles, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Every device folder: found, named after its profile, with a README that says how far it was proven.
    #[test]
    fn every_device_folder_is_built_in_and_passes_its_vectors() {
        let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware-profiles/devices");
        let mut folders: Vec<String> = std::fs::read_dir(devices)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        folders.sort();
        assert_eq!(folders, EMBEDDED.iter().map(|device| device.folder).collect::<Vec<_>>());

        for device in EMBEDDED {
            let profile = Profile::load(device.profile, device.vectors.iter().copied())
                .unwrap_or_else(|e| panic!("{}: {e}", device.folder));
            assert_eq!(profile.id().replace('.', "-"), device.folder, "folder and id name the same device");
            assert!(
                device.readme.contains("run against hardware"),
                "{}: say what it was tried on",
                device.folder
            );
            assert!(device.readme.contains(profile.source()), "{}: cite the source", device.folder);
        }
        let catalogue = Catalogue::builtin().unwrap();
        assert_eq!(catalogue.ids().count(), EMBEDDED.len());
        assert!(catalogue.get("bluetooth.plx").is_some());
        assert!(catalogue.get("bluetooth.nothing").is_none());
    }

    #[test]
    fn an_id_is_taken_once() {
        let mut catalogue = Catalogue::builtin().unwrap();
        let again = Profile::clone(catalogue.get("bluetooth.plx").unwrap());
        assert_eq!(catalogue.insert(again), Err(LoadError::Taken { id: "bluetooth.plx".into() }));
    }
}
