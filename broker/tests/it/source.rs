//! The workspace's own files, as the tests of the house read them.

use std::path::{Path, PathBuf};

/// A text file of the workspace.
pub(crate) struct Source {
    /// Its path from the top of the workspace, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Its name without folders and extension.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.split('.').next().unwrap_or(name)
    }

    /// Whether it holds nothing but tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.stem() == "tests" || self.stem().ends_with("_tests")
    }

    /// Its lines without comments, with their numbers: what the compiler sees, but for texts.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines());
        lines
            .map(|(number, line)| {
                let end = match line.find("//") {
                    // Not the slashes of an address in a text.
                    Some(at) if !line[..at].ends_with(':') => at,
                    _ => line.len(),
                };
                (number, &line[..end])
            })
            .filter(|(_, line)| !line.trim().is_empty())
    }

    /// The same, up to the tests at the file's foot.
    pub(crate) fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }
}

/// The top of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in a workspace")
        .to_path_buf()
}

/// All files below `folder` whose name ends so, in order.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<Source> {
    let top = workspace();
    let mut found = Vec::new();
    let mut folders = vec![top.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = folder.read_dir() else {
            continue; // a room of the tree that is not built yet
        };
        for entry in entries {
            let path = entry.expect("a folder's entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(extension) {
                let text = std::fs::read_to_string(&path).expect("a text file");
                let path = path.strip_prefix(&top).expect("below the top");
                let path = path.to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
